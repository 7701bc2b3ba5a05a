//! The few operations that a fit needs, on plain arrays; each does what the graph's node of the same name does.

use rayon::prelude::*;

use upscore_evaluation::images::Rgb8;

/// How much the networks of the demo enlarge.
pub const SCALE: usize = 4;

/// One image or feature map, float32 [channels, height, width].
#[derive(Debug, Clone)]
pub struct Planes {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub data: Vec<f32>,
}

impl Planes {
    pub fn zeros(channels: usize, height: usize, width: usize) -> Planes {
        Planes { channels, height, width, data: vec![0.0; channels * height * width] }
    }

    /// The samples of an image in 0…1.
    pub fn from_image(image: &Rgb8) -> Planes {
        let mut planes = Planes::zeros(3, image.height as usize, image.width as usize);
        let size = planes.height * planes.width;
        for (i, pixel) in image.data.chunks_exact(3).enumerate() {
            for (c, &sample) in pixel.iter().enumerate() {
                planes.data[c * size + i] = f32::from(sample) / 255.0;
            }
        }
        planes
    }

    /// One row of one channel; rows beyond the edge repeat it.
    pub fn row(&self, channel: usize, y: isize) -> &[f32] {
        let y = y.clamp(0, self.height as isize - 1) as usize;
        &self.data[(channel * self.height + y) * self.width..][..self.width]
    }

    /// Some of the channels.
    pub fn channels(&self, range: std::ops::Range<usize>) -> Planes {
        let size = self.height * self.width;
        let data = self.data[range.start * size..range.end * size].to_vec();
        Planes { channels: range.len(), data, ..*self }
    }

    pub fn concat(parts: &[&Planes]) -> Planes {
        let (height, width) = parts.first().map_or((0, 0), |p| (p.height, p.width));
        let data = parts.iter().flat_map(|p| &p.data).copied().collect();
        Planes { channels: parts.iter().map(|p| p.channels).sum(), height, width, data }
    }

    pub fn plus(mut self, other: &Planes) -> Planes {
        self.data.iter_mut().zip(&other.data).for_each(|(a, b)| *a += b);
        self
    }

    pub fn minus(mut self, other: &Planes) -> Planes {
        self.data.iter_mut().zip(&other.data).for_each(|(a, b)| *a -= b);
        self
    }

    pub fn relu(mut self) -> Planes {
        self.data.iter_mut().for_each(|v| *v = v.max(0.0));
        self
    }

    /// A convolution whose edge is repeated outwards, so that the size stays; see [`Layer`].
    pub fn conv(&self, layer: &Layer) -> Planes {
        let Layer { kernel, groups, ref weights, ref bias } = *layer;
        let (radius, width) = ((kernel / 2) as isize, self.width);
        let mut out = Planes::zeros(bias.len(), self.height, width);
        let taps = self.channels / groups * kernel * kernel;
        let outputs_per_group = bias.len() / groups;
        out.data.par_chunks_mut(self.height * width).enumerate().for_each(|(o, plane)| {
            let first = o / outputs_per_group * (self.channels / groups);
            for (y, row) in plane.chunks_mut(width).enumerate() {
                row.fill(bias[o]);
                for (tap, &weight) in weights[o * taps..][..taps].iter().enumerate() {
                    let (c, dy, dx) = (first + tap / (kernel * kernel), tap / kernel % kernel, tap % kernel);
                    let from = self.row(c, y as isize + dy as isize - radius);
                    shifted(from, dx as isize - radius, |x, value| row[x] += weight * value);
                }
            }
        });
        out
    }

    /// [`SCALE`] times the size by Keys' cubic with a = −0.5, as `Resize` does it.
    pub fn bicubic(&self) -> Planes {
        let mut out = Planes::zeros(self.channels, self.height * SCALE, self.width * SCALE);
        let (rows, columns) = (cubic_taps(self.height), cubic_taps(self.width));
        out.data.par_chunks_mut(self.width * SCALE).enumerate().for_each(|(i, row)| {
            let (c, y) = (i / (self.height * SCALE), i % (self.height * SCALE));
            let mut line = vec![0.0; self.width];
            for (from, weight) in rows[y] {
                line.iter_mut().zip(self.row(c, from as isize)).for_each(|(sum, v)| *sum += weight * v);
            }
            for (sample, taps) in row.iter_mut().zip(&columns) {
                *sample = taps.iter().map(|&(from, weight)| weight * line[from]).sum();
            }
        });
        out
    }

    /// The inverse of PixelShuffle: [C, H·r, W·r] to [C·r², H, W] with r = [`SCALE`].
    pub fn space_to_depth(&self) -> Planes {
        let mut out = Planes::zeros(self.channels * SCALE * SCALE, self.height / SCALE, self.width / SCALE);
        let width = out.width;
        for (i, row) in out.data.chunks_mut(width).enumerate() {
            let (channel, y) = (i / out.height, i % out.height);
            let (c, dy, dx) = (channel / (SCALE * SCALE), channel / SCALE % SCALE, channel % SCALE);
            let from = self.row(c, (y * SCALE + dy) as isize);
            row.iter_mut().zip(from.iter().skip(dx).step_by(SCALE)).for_each(|(to, v)| *to = *v);
        }
        out
    }
}

/// Weights `[out][in/groups][kernel][kernel]` and one bias per output channel.
#[derive(Debug, Clone)]
pub struct Layer {
    pub kernel: usize,
    pub groups: usize,
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
}

/// Calls `take(x, row[x + by])` for each x, the ends of the row repeated outwards.
pub fn shifted(row: &[f32], by: isize, mut take: impl FnMut(usize, f32)) {
    let width = row.len();
    let by = by.clamp(-(width as isize), width as isize);
    let (start, end) = ((-by).max(0) as usize, (width as isize - by.max(0)) as usize);
    (0..start).for_each(|x| take(x, row[0]));
    let from = (start as isize + by) as usize;
    for (x, &value) in row[from..].iter().take(end - start).enumerate() {
        take(start + x, value);
    }
    (end..width).for_each(|x| take(x, row[width - 1]));
}

/// The four samples that each enlarged position is made of, the edge repeated outwards.
fn cubic_taps(size: usize) -> Vec<[(usize, f32); 4]> {
    const A: f32 = -0.5;
    let kernel = |x: f32| match x.abs() {
        x if x <= 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        x => ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A,
    };
    let taps = |i: usize| {
        let at = (i as f32 + 0.5) / SCALE as f32 - 0.5;
        std::array::from_fn(|k| {
            let from = at.floor() + k as f32 - 1.0;
            (from.clamp(0.0, size as f32 - 1.0) as usize, kernel(at - from))
        })
    };
    (0..size * SCALE).map(taps).collect()
}
