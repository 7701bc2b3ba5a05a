//! The plot of a board: fidelity against a cost, as the address asks for it.

use super::{
    super::super::{
        lang::t,
        plot::{self, Frame, Kind, Point, Scale, Scatter},
        view::fixed,
    },
    Table,
};
use crate::leaderboard::Figures;

/// What lies on the horizontal axis of the plot, or sets the size of its marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CostAxis {
    #[default]
    Runtime,
    Params,
    Flops,
    Activations,
    Memory,
}

/// What lies on the vertical axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Height {
    #[default]
    Psnr,
    Ssim,
}

/// Which plot of the board is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chart {
    pub cost: CostAxis,
    pub height: Height,
    pub scale: Scale,
    /// What the marks' areas show; `None`: all are alike.
    pub size: Option<CostAxis>,
}

/// Other charts that one click leads to: parameter, value, title, whether it is this one.
pub type Choice = (&'static str, &'static str, &'static str, bool);

impl Chart {
    /// Takes one parameter of an address; what it cannot be is as if it were not asked.
    pub fn set(&mut self, name: &str, value: &str) {
        let cost = || CostAxis::ALL.into_iter().find(|axis| axis.slug() == value);
        match name {
            "cost" => self.cost = cost().unwrap_or_default(),
            "y" => self.height = if value == "ssim" { Height::Ssim } else { Height::Psnr },
            "scale" => self.scale = if value == "linear" { Scale::Linear } else { Scale::Log },
            "size" => self.size = cost(),
            _ => {}
        }
    }

    /// Every parameter that is not as usual.
    pub fn pairs(&self) -> Vec<(&'static str, &'static str)> {
        let cost = (self.cost != CostAxis::default()).then(|| ("cost", self.cost.slug()));
        let height = (self.height == Height::Ssim).then_some(("y", "ssim"));
        let scale = (self.scale == Scale::Linear).then_some(("scale", "linear"));
        let size = self.size.map(|size| ("size", size.slug()));
        [cost, height, scale, size].into_iter().flatten().collect()
    }

    /// Groups of choices, each with its name.
    pub fn choices(&self) -> Vec<(&'static str, Vec<Choice>)> {
        let costs = CostAxis::ALL.map(|axis| ("cost", axis.slug(), axis.title(), self.cost == axis));
        let sizes = [CostAxis::Params, CostAxis::Flops, CostAxis::Memory];
        let sizes = sizes.map(|axis| ("size", axis.slug(), axis.title(), self.size == Some(axis)));
        let none = ("size", "", t("none"), self.size.is_none());
        let (height, scale) = (self.height, self.scale);
        vec![
            (t("Across"), costs.to_vec()),
            (
                t("Axis"),
                vec![
                    ("scale", "log", t("log"), scale == Scale::Log),
                    ("scale", "linear", t("linear"), scale == Scale::Linear),
                ],
            ),
            (
                t("Up"),
                vec![("y", "psnr", "PSNR", height == Height::Psnr), ("y", "ssim", "SSIM", height == Height::Ssim)],
            ),
            (t("Bubbles"), std::iter::once(none).chain(sizes).collect()),
        ]
    }

    pub fn height_name(&self) -> &'static str {
        match self.height {
            Height::Psnr => "PSNR",
            Height::Ssim => "SSIM",
        }
    }

    pub fn height_axis(&self) -> &'static str {
        match self.height {
            Height::Psnr => "PSNR dB",
            Height::Ssim => "SSIM",
        }
    }
}

/// For a wide window, and one for narrow windows, where the wide one's words would be too small to read.
const FRAMES: [(&str, Frame); 2] = [
    ("large", plot::FRAME),
    ("small", Frame { width: 360.0, height: 330.0, left: 48.0, right: 350.0, top: 18.0, bottom: 282.0 }),
];

/// A row of the table behind the plot.
pub struct Datum {
    pub team: String,
    pub href: Option<String>,
    pub x: String,
    pub y: String,
    pub size: Option<String>,
    pub on_front: bool,
    pub kind: Kind,
}

/// The pictures, the rows behind them, and how many points were left out.
#[derive(Default)]
pub struct Drawn {
    pub plots: Vec<(&'static str, Scatter)>,
    pub data: Vec<Datum>,
    pub left_out: usize,
}

impl Table<'_> {
    pub fn chart(&self, chart: Chart) -> Drawn {
        let (board, against) = (self.board, self.against);
        let point = |team: &str, id, figures: &Figures, kind| Point {
            x: chart.cost.value(figures, against),
            y: match chart.height {
                Height::Psnr => figures.psnr,
                Height::Ssim => figures.ssim,
            },
            size: chart.size.map(|size| size.value(figures, against)),
            label: team.to_owned(),
            href: self.href(id),
            id: id.to_string(),
            kind,
        };
        let ranked = board.ranked.iter().map(|r| point(&r.team, r.submission, &r.figures, Kind::Ranked));
        let unranked = board.unranked.iter().map(|r| point(&r.team, r.submission, &r.figures, Kind::Unranked));
        let base = board
            .baseline
            .iter()
            .filter_map(|b| Some(point(&b.team, b.submission?, b.figures.as_ref()?, Kind::Baseline)));
        let all: Vec<Point> = base.chain(ranked).chain(unranked).collect();
        let points = plot::few(&all);
        let digits = if chart.height == Height::Ssim { 4 } else { 2 };
        let size = |p: &Point| Some((chart.size?, p.size?));
        let describe = |p: &Point| {
            let size = size(p).map(|(size, value)| format!(", {} {}", size.axis(against), fixed(value, 2)));
            let (y, x) = (format!("{:.digits$}", p.y), fixed(p.x, 3));
            format!(
                "{}: {} {y}, {} {x}{}",
                p.label,
                chart.height_axis(),
                chart.cost.axis(against),
                size.unwrap_or_default()
            )
        };
        let draw = |(class, frame)| Some((class, plot::scatter(&points, frame, chart.scale, describe)?));
        let plots: Vec<_> = FRAMES.into_iter().filter_map(draw).collect();
        let front: Vec<bool> = plot::front(&points);
        let mut data: Vec<(f64, Datum)> = points
            .iter()
            .zip(front)
            .filter(|(p, _)| p.x > 0.0)
            .map(|(p, on_front)| {
                let datum = Datum {
                    team: p.label.clone(),
                    href: p.href.clone(),
                    x: fixed(p.x, 3),
                    y: format!("{:.digits$}", p.y),
                    size: size(p).map(|(_, value)| fixed(value, 3)),
                    on_front,
                    kind: p.kind,
                };
                (p.x, datum)
            })
            .collect();
        data.sort_by(|a, b| a.0.total_cmp(&b.0));
        Drawn { plots, data: data.into_iter().map(|(_, datum)| datum).collect(), left_out: all.len() - points.len() }
    }
}

impl CostAxis {
    pub const ALL: [CostAxis; 5] =
        [CostAxis::Runtime, CostAxis::Params, CostAxis::Flops, CostAxis::Activations, CostAxis::Memory];

    /// In addresses: the same in every language.
    pub fn slug(self) -> &'static str {
        match self {
            CostAxis::Runtime => "runtime",
            CostAxis::Params => "params",
            CostAxis::Flops => "flops",
            CostAxis::Activations => "activations",
            CostAxis::Memory => "memory",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            CostAxis::Runtime => t("Runtime"),
            CostAxis::Params => t("Params"),
            CostAxis::Flops => "FLOPs",
            CostAxis::Activations => t("Acts"),
            CostAxis::Memory => t("Memory"),
        }
    }

    pub fn name(self, against: bool) -> &'static str {
        match self {
            CostAxis::Runtime if against => t("runtime relative to the baseline"),
            CostAxis::Runtime => t("runtime"),
            CostAxis::Params => t("parameters"),
            CostAxis::Flops => "FLOPs",
            CostAxis::Activations => t("activations"),
            CostAxis::Memory => t("peak memory"),
        }
    }

    pub fn axis(self, against: bool) -> &'static str {
        match self {
            CostAxis::Runtime if against => t("runtime × baseline"),
            CostAxis::Runtime => t("runtime ms"),
            CostAxis::Params => t("params M"),
            CostAxis::Flops => "FLOPs G",
            CostAxis::Activations => t("acts M"),
            CostAxis::Memory => t("memory MiB"),
        }
    }

    /// In the axis's unit; 0, and not plotted, where it is missing.
    fn value(self, f: &Figures, against: bool) -> f64 {
        match self {
            CostAxis::Runtime if against => f.runtime_ratio.unwrap_or(0.0),
            CostAxis::Runtime => f.runtime_ms,
            CostAxis::Params => f.params as f64 / 1e6,
            CostAxis::Flops => f.flops as f64 / 1e9,
            CostAxis::Activations => f.activations as f64 / 1e6,
            CostAxis::Memory => f.memory_mib,
        }
    }
}
