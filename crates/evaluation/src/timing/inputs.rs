//! What the timed passes are fed: real pixels, shifted and flipped anew for each. Never noise: real networks explode on it.

use std::collections::BTreeSet;

use rand::RngExt;

use super::super::{TimedInput, evaluate::nchw, images::Rgb8};

/// Images by the sizes that they are timed at.
pub struct Inputs {
    images: Vec<Rgb8>,
    pub sizes: Vec<Size>,
    whole: bool,
}

pub struct Size {
    pub height: u32,
    pub width: u32,
    /// Images that pixels of this size are taken from.
    from: Vec<usize>,
}

impl Size {
    pub fn pixels(&self) -> u64 {
        u64::from(self.height) * u64::from(self.width)
    }

    pub fn shape(&self) -> (u32, u32) {
        (self.height, self.width)
    }

    /// How many images of the set have this size.
    pub fn weight(&self) -> f64 {
        self.from.len() as f64
    }
}

impl Inputs {
    /// `None`: there are no images.
    pub fn new(images: Vec<Rgb8>, input: TimedInput) -> Option<Inputs> {
        if images.is_empty() || images.iter().any(|i| i.width == 0 || i.height == 0) {
            return None;
        }
        let mut sizes: Vec<Size> = Vec::new();
        let whole = match input {
            TimedInput::Tile(height, width) => {
                sizes.push(Size { height, width, from: (0..images.len()).collect() });
                false
            }
            TimedInput::Whole(_) => {
                for (i, image) in images.iter().enumerate() {
                    match sizes.iter_mut().find(|s| (s.height, s.width) == (image.height, image.width)) {
                        Some(size) => size.from.push(i),
                        None => sizes.push(Size { height: image.height, width: image.width, from: vec![i] }),
                    }
                }
                true
            }
        };
        sizes.sort_by_key(Size::pixels);
        Some(Inputs { images, sizes, whole })
    }

    /// How many images have each size.
    pub fn weights(&self) -> Vec<f64> {
        self.sizes.iter().map(Size::weight).collect()
    }

    /// Leaves at most `most` sizes, evenly spread from the smallest to the largest.
    pub fn thin_out(&mut self, most: usize) {
        let (all, keep) = (self.sizes.len(), most.max(1));
        if all <= keep {
            return;
        }
        let mut index = 0;
        let kept: Vec<usize> =
            (0..keep).map(|k| if keep == 1 { all - 1 } else { k * (all - 1) / (keep - 1) }).collect();
        self.sizes.retain(|_| {
            index += 1;
            kept.contains(&(index - 1))
        });
    }

    /// As pages show it: `1x3x256x256`, `100 LR images, at most 1x3x339x510`.
    pub fn words(&self) -> String {
        let Some(largest) = self.sizes.last() else { return String::new() };
        let shape = format!("1x3x{}x{}", largest.height, largest.width);
        if !self.whole {
            return shape;
        }
        let timed: usize = self.sizes.iter().map(|s| s.from.len()).sum();
        let all = self.images.len();
        let count = if timed == all { all.to_string() } else { format!("{timed} of {all}") };
        format!("{count} LR images, at most {shape}")
    }

    /// Fresh pixels of a size: a random image of those it is taken from, shifted and flipped at random by the system's
    /// randomness, mirrored on where it is too small.
    pub fn draw(&self, size: &Size) -> Rgb8 {
        self.draw_at(size, size.shape())
    }

    /// The same at another height and width.
    pub fn draw_at(&self, size: &Size, shape: (u32, u32)) -> Rgb8 {
        let mut rng = rand::rng();
        let image = &self.images[size.from[rng.random_range(0..size.from.len())]];
        let shift = (rng.random_range(0..image.width), rng.random_range(0..image.height));
        mirrored(image, shape, shift, (rng.random(), rng.random()))
    }

    /// Heights and widths of the images, each once.
    pub fn shapes(&self) -> Vec<(u32, u32)> {
        let shapes: BTreeSet<(u32, u32)> = self.images.iter().map(|image| (image.height, image.width)).collect();
        shapes.into_iter().collect()
    }
}

/// `height`×`width` pixels of the image, which goes on mirrored beyond its borders, from `shift` (x, y) on.
fn mirrored(image: &Rgb8, (height, width): (u32, u32), shift: (u32, u32), flip: (bool, bool)) -> Rgb8 {
    let place = |at: u32, shift: u32, side: u32, flip: bool| {
        let at = (at + shift) % (2 * side);
        let at = if at < side { at } else { 2 * side - 1 - at };
        if flip { side - 1 - at } else { at }
    };
    let mut data = Vec::with_capacity(3 * height as usize * width as usize);
    for y in 0..height {
        let row = place(y, shift.1, image.height, flip.1);
        for x in 0..width {
            let at = 3 * (row as usize * image.width as usize + place(x, shift.0, image.width, flip.0) as usize);
            data.extend_from_slice(&image.data[at..at + 3]);
        }
    }
    Rgb8 { width, height, data }
}

/// The image at the upper left of a larger one, its own mirrored continuation: strides and windows lie on it as before.
pub fn framed(image: &Rgb8, size: (u32, u32)) -> Rgb8 {
    mirrored(image, size, (0, 0), (false, false))
}

/// As a network's input of this range.
pub fn pixels(image: &Rgb8, range: u32) -> Vec<f32> {
    nchw(image, range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Whole;

    fn image(width: u32, height: u32) -> Rgb8 {
        let pixel = |x: u32, y: u32| [x as u8, y as u8, 7];
        Rgb8 { width, height, data: (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect() }
    }

    #[test]
    fn a_frame_begins_with_the_image() {
        let small = image(5, 4);
        let large = framed(&small, (20, 30));
        let at = |i: &Rgb8, x: u32, y: u32| i.data[3 * (y * i.width + x) as usize..][..3].to_vec();
        for (x, y) in [(0, 0), (4, 0), (2, 3)] {
            assert_eq!(at(&large, x, y), at(&small, x, y));
        }
        assert_eq!(at(&large, 5, 0), at(&small, 4, 0), "mirrored at the border");
    }

    #[test]
    fn whole_images_are_timed_at_their_own_sizes() {
        let set = vec![image(8, 6), image(10, 6), image(8, 6), image(4, 4)];
        let mut inputs = Inputs::new(set.clone(), TimedInput::Whole(Whole::LrImages)).expect("images");
        assert_eq!(
            inputs.sizes.iter().map(|s| (s.shape(), s.weight())).collect::<Vec<_>>(),
            [((4, 4), 1.0), ((6, 8), 2.0), ((6, 10), 1.0)]
        );
        assert_eq!(inputs.words(), "4 LR images, at most 1x3x6x10");
        inputs.thin_out(2);
        assert_eq!(inputs.words(), "2 of 4 LR images, at most 1x3x6x10");
        let tile = Inputs::new(set, TimedInput::Tile(16, 12)).expect("images");
        assert_eq!((tile.words().as_str(), tile.draw(&tile.sizes[0]).data.len()), ("1x3x16x12", 3 * 16 * 12));
    }
}
