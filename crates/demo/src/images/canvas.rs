//! A float canvas with anti-aliased shapes; drawn at twice the size and averaged down, as a lens would soften it.

use upscore_evaluation::images::Rgb8;

/// Drawn pixels per pixel of the finished image, along each axis.
const OVERSAMPLING: usize = 2;

/// Standard deviation of the lens's blur in pixels of the finished image. Without it most of what shrinking loses would
/// lie beyond what any network can bring back.
const SOFTNESS: f32 = 1.0;

/// Red, green, blue in 0…1.
pub type Colour = [f32; 3];

pub fn mix(a: Colour, b: Colour, t: f32) -> Colour {
    std::array::from_fn(|c| a[c] + (b[c] - a[c]) * t)
}

pub fn shade(a: Colour, factor: f32) -> Colour {
    a.map(|v| v * factor)
}

/// A picture being drawn; coordinates are those of the finished image, in pixels, y down.
pub struct Canvas {
    pub width: f32,
    pub height: f32,
    columns: usize,
    pixels: Vec<Colour>,
}

impl Canvas {
    /// A canvas on which every point has the colour that `paint` gives it.
    pub fn painted(width: usize, height: usize, paint: impl Fn(f32, f32) -> Colour) -> Canvas {
        let (columns, rows) = (width * OVERSAMPLING, height * OVERSAMPLING);
        let pixels = (0..columns * rows).map(|i| paint(centre(i % columns), centre(i / columns))).collect();
        Canvas { width: width as f32, height: height as f32, columns, pixels }
    }

    /// Draws over the points whose signed `distance` to an outline, in pixels, is negative. `bounds` is
    /// `[left, top, right, bottom]`.
    pub fn fill(&mut self, bounds: [f32; 4], distance: impl Fn(f32, f32) -> f32, paint: impl Fn(f32, f32) -> Colour) {
        let scale = OVERSAMPLING as f32;
        let rows = self.pixels.len() / self.columns;
        let edge = |v: f32, limit: usize| ((v * scale).max(0.0) as usize).min(limit);
        let [left, top, right, bottom] = bounds;
        for row in edge(top - 1.0, rows)..edge(bottom + 2.0, rows) {
            for column in edge(left - 1.0, self.columns)..edge(right + 2.0, self.columns) {
                let (x, y) = (centre(column), centre(row));
                let coverage = (0.5 - distance(x, y) * scale).clamp(0.0, 1.0);
                if coverage > 0.0 {
                    let pixel = &mut self.pixels[row * self.columns + column];
                    *pixel = mix(*pixel, paint(x, y), coverage);
                }
            }
        }
    }

    pub fn disc(&mut self, x: f32, y: f32, radius: f32, colour: Colour) {
        let bounds = [x - radius, y - radius, x + radius, y + radius];
        self.fill(bounds, |px, py| (px - x).hypot(py - y) - radius, |_, _| colour);
    }

    /// A rectangle of `half` width and height round its centre, turned by `angle` radians.
    pub fn rectangle(&mut self, [x, y]: [f32; 2], half: [f32; 2], angle: f32, colour: Colour) {
        let reach = half[0].hypot(half[1]);
        let (sin, cos) = angle.sin_cos();
        let distance = |px: f32, py: f32| {
            let (dx, dy) = (px - x, py - y);
            ((dx * cos + dy * sin).abs() - half[0]).max((dy * cos - dx * sin).abs() - half[1])
        };
        self.fill([x - reach, y - reach, x + reach, y + reach], distance, |_, _| colour);
    }

    /// A line with round ends.
    pub fn line(&mut self, from: [f32; 2], to: [f32; 2], thickness: f32, colour: Colour) {
        let half = thickness / 2.0;
        let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
        let length = (dx * dx + dy * dy).max(1e-6);
        let distance = |x: f32, y: f32| {
            let along = (((x - from[0]) * dx + (y - from[1]) * dy) / length).clamp(0.0, 1.0);
            (x - from[0] - along * dx).hypot(y - from[1] - along * dy) - half
        };
        let bounds = [
            from[0].min(to[0]) - half,
            from[1].min(to[1]) - half,
            from[0].max(to[0]) + half,
            from[1].max(to[1]) + half,
        ];
        self.fill(bounds, distance, |_, _| colour);
    }

    /// Changes every point in place.
    pub fn adjust(&mut self, change: impl Fn(f32, f32, Colour) -> Colour) {
        for (i, pixel) in self.pixels.iter_mut().enumerate() {
            *pixel = change(centre(i % self.columns), centre(i / self.columns), *pixel);
        }
    }

    /// The image as a lens would give it: softened by [`SOFTNESS`], then averaged down.
    pub fn finish(mut self) -> Rgb8 {
        self.soften();
        let (width, height) = (self.width as usize, self.height as usize);
        let mut data = Vec::with_capacity(3 * width * height);
        for i in 0..width * height {
            let corner = i / width * OVERSAMPLING * self.columns + i % width * OVERSAMPLING;
            let block = (0..OVERSAMPLING).flat_map(|r| &self.pixels[corner + r * self.columns..][..OVERSAMPLING]);
            let sum = block.fold([0.0f32; 3], |sum, pixel| std::array::from_fn(|c| sum[c] + pixel[c]));
            let mean = sum.map(|v| v / (OVERSAMPLING * OVERSAMPLING) as f32);
            data.extend(mean.map(|v| (v * 255.0).round().clamp(0.0, 255.0) as u8));
        }
        Rgb8 { width: width as u32, height: height as u32, data }
    }

    /// A Gaussian blur, along rows and then along columns; the edge is repeated outwards.
    fn soften(&mut self) {
        let (columns, rows) = (self.columns, self.pixels.len() / self.columns);
        let deviation = SOFTNESS * OVERSAMPLING as f32;
        let reach = (3.0 * deviation).ceil() as isize;
        let weights: Vec<f32> = (-reach..=reach).map(|d| (-0.5 * (d as f32 / deviation).powi(2)).exp()).collect();
        let total: f32 = weights.iter().sum();
        let mut pass = |at: &dyn Fn(usize, isize) -> usize| {
            let blurred = (0..self.pixels.len()).map(|i| {
                let near = weights.iter().zip(-reach..=reach).map(|(w, d)| (w / total, self.pixels[at(i, d)]));
                near.fold([0.0f32; 3], |sum, (w, pixel)| std::array::from_fn(|c| sum[c] + w * pixel[c]))
            });
            self.pixels = blurred.collect();
        };
        let moved = |i: usize, by: isize, limit: usize| (i as isize + by).clamp(0, limit as isize - 1) as usize;
        pass(&|i, d| i - i % columns + moved(i % columns, d, columns));
        pass(&|i, d| moved(i / columns, d, rows) * columns + i % columns);
    }
}

fn centre(index: usize) -> f32 {
    (index as f32 + 0.5) / OVERSAMPLING as f32
}
