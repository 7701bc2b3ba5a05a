//! Values in the order of time: timed passes, a team's entries, the best of a phase.

use super::{Axes, Frame, Kind, MARK, MOST, Mark, Tick, bounds, hundredths, linear_ticks, nine_digits};
use crate::{
    evaluation::Runtime,
    web::lang::{say, t, told},
};

/// The timed passes of an entry and of its baseline in the order they ran, each as how far it is from the median of its own.
#[derive(Debug, Clone)]
pub struct Passes {
    pub dots: Vec<Pass>,
    /// Per cent.
    pub ticks: Vec<Tick>,
    pub frame: Frame,
    pub has_baseline: bool,
}

#[derive(Debug, Clone)]
pub struct Pass {
    pub x: f64,
    pub y: f64,
    pub title: String,
    /// `entry` or `baseline`, and `disturbed` where it was.
    pub class: &'static str,
}

/// `None`: there is nothing to be drawn.
pub fn passes(runtime: &Runtime) -> Option<Passes> {
    let frame = PROGRESS;
    let blocks = &runtime.record.blocks;
    // Which block, ms, of the baseline, what disturbed it.
    let mut all: Vec<(usize, f64, bool, Option<&str>)> = Vec::new();
    for (i, block) in blocks.iter().enumerate() {
        let why = block.disturbed.as_deref();
        let [first, last] = block.entry_ms;
        let between = block.baseline_ms.into_iter().flatten();
        all.push((i, first, false, why));
        all.extend(between.map(|ms| (i, ms, true, why)));
        all.push((i, last, false, why));
    }
    if blocks.is_empty() {
        all.extend(runtime.samples_ms.iter().enumerate().map(|(i, &ms)| (i, ms, false, None)));
    }
    let middle = |baseline: bool| {
        let mut of: Vec<f64> = all.iter().filter(|pass| pass.2 == baseline).map(|pass| pass.1).collect();
        of.sort_by(f64::total_cmp);
        of.get(of.len() / 2).copied().filter(|ms| *ms > 0.0)
    };
    let (entry, baseline) = (middle(false)?, middle(true));
    let off =
        |ms: f64, of_baseline: bool| 100.0 * (ms / if of_baseline { baseline.unwrap_or(ms) } else { entry } - 1.0);
    let (low, high) = bounds(all.iter().map(|pass| off(pass.1, pass.2)), 0.12, 2.0)?;
    let to_y = |value: f64| frame.bottom - (value - low) / (high - low) * (frame.bottom - frame.top);
    let step = (frame.right - frame.left - 24.0) / all.len().saturating_sub(1).max(1) as f64;
    let dots = all.iter().enumerate().map(|(i, &(block, ms, of_baseline, why))| {
        let whose = if of_baseline { t("baseline") } else { t("entry") };
        let cause = why.map_or_else(String::new, |why| say("; disturbed: %{why}").with("why", told(why)).into());
        Pass {
            x: frame.left + 12.0 + i as f64 * step,
            y: to_y(off(ms, of_baseline)),
            title: say("%{whose}, block %{n}: %{time}")
                .with("whose", whose)
                .with("n", block + 1)
                .with("time", format!("{ms:.3} ms, {:+.1} %{cause}", off(ms, of_baseline)))
                .into(),
            class: match (of_baseline, why) {
                (false, None) => "entry",
                (false, Some(_)) => "entry disturbed",
                (true, None) => "baseline",
                (true, Some(_)) => "baseline disturbed",
            },
        }
    });
    Some(Passes {
        dots: dots.collect(),
        ticks: linear_ticks(low, high, 4).into_iter().map(|(v, text)| Tick::new(to_y(v), text)).collect(),
        frame,
        has_baseline: baseline.is_some(),
    })
}

/// A team's entries over time.
#[derive(Debug, Clone)]
pub struct Progress {
    pub dots: Vec<Dot>,
    /// `x,y x,y …`: the best so far.
    pub best: String,
    pub ticks: Vec<Tick>,
    pub frame: Frame,
}

#[derive(Debug, Clone)]
pub struct Dot {
    pub x: f64,
    pub y: f64,
    pub title: String,
    pub href: String,
    /// The entry whose page this is.
    pub here: bool,
}

/// Class and frame of a picture of few values on a wide page, and on a narrow one, where the wide one's words would be too small
/// to read.
pub const FLAT: [(&str, Frame); 2] = [
    ("large", PROGRESS),
    ("small", Frame { width: 360.0, height: 220.0, left: 48.0, right: 350.0, top: 14.0, bottom: 196.0 }),
];

const PROGRESS: Frame = Frame { width: 760.0, height: 180.0, left: 58.0, right: 744.0, top: 14.0, bottom: 160.0 };

/// Values in the order of time, higher is better, each with its title, address and whether it is this page's. `None`: one
/// entry shows no progress.
pub fn progress(entries: &[(f64, String, String, bool)], frame: Frame) -> Option<Progress> {
    if entries.len() < 2 {
        return None;
    }
    let (low, high) = bounds(entries.iter().map(|e| e.0).filter(|v| v.is_finite()), 0.15, 0.15)?;
    let step = (frame.right - frame.left - 24.0) / (entries.len() - 1) as f64;
    let to_y = |value: f64| frame.bottom - (value - low) / (high - low) * (frame.bottom - frame.top);
    let (mut dots, mut best, mut top) = (Vec::new(), Vec::new(), f64::NEG_INFINITY);
    for (i, (value, title, href, here)) in entries.iter().enumerate() {
        let x = frame.left + 12.0 + i as f64 * step;
        if *value > top {
            if i > 0 {
                best.push(format!("{x:.1},{:.1}", to_y(top)));
            }
            top = *value;
        }
        best.push(format!("{x:.1},{:.1}", to_y(top)));
        dots.push(Dot { x, y: to_y(*value), title: title.clone(), href: href.clone(), here: *here });
    }
    let ticks = linear_ticks(low, high, 4).into_iter().map(|(v, text)| Tick::new(to_y(v), text));
    Some(Progress { dots, best: best.join(" "), ticks: ticks.collect(), frame })
}

/// The best of a phase over time.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// Those that were the best so far are on the front.
    pub marks: Vec<Mark>,
    pub axes: Axes,
    /// `x,y x,y …`: the best so far.
    pub front: String,
    pub ticks: Vec<Tick>,
    pub frame: Frame,
}

/// An entry at the time it came, seconds, with its value.
#[derive(Debug, Clone)]
pub struct Event {
    pub at: i64,
    pub value: f64,
    pub team: String,
    pub title: String,
    pub href: String,
    /// Names it to scripts.
    pub id: String,
}

/// Events in the order of time; `falls`: lower is better. `None`: fewer than two.
pub fn timeline(events: &[Event], falls: bool, frame: Frame) -> Option<Timeline> {
    const INSET: f64 = 12.0;
    let events: Vec<&Event> = events.iter().filter(|e| e.value.is_finite()).collect();
    let (first, last) = (events.first()?, events.last()?);
    if events.len() < 2 {
        return None;
    }
    let (low, high) = bounds(events.iter().map(|e| e.value), 0.15, f64::MIN_POSITIVE.max(first.value.abs() * 1e-3))?;
    let span = (last.at - first.at).max(1) as f64;
    let inside = frame.right - frame.left - 2.0 * INSET;
    let to_x = |at: i64| hundredths(frame.left + INSET + (at - first.at) as f64 / span * inside);
    let to_y = |value: f64| hundredths(frame.bottom - (value - low) / (high - low) * (frame.bottom - frame.top));
    let (mut marks, mut front, mut top): (Vec<Mark>, Vec<String>, Option<f64>) = (Vec::new(), Vec::new(), None);
    let mut others = 0;
    for event in &events {
        let (x, y) = (to_x(event.at), to_y(event.value));
        let leads = top.is_none_or(|top| if falls { event.value < top } else { event.value > top });
        if leads {
            front.extend(top.map(|before| format!("{x:.1},{:.1}", to_y(before))));
            front.push(format!("{x:.1},{y:.1}"));
            top = Some(event.value);
        }
        others += usize::from(!leads);
        if leads || others <= MOST {
            marks.push(Mark {
                x,
                y,
                radius: MARK,
                id: event.id.clone(),
                name: event.team.clone(),
                at: [event.at as f64, nine_digits(event.value)],
                label: String::new(),
                label_x: 0.0,
                label_y: 0.0,
                anchor: "start",
                title: event.title.clone(),
                href: Some(event.href.clone()),
                kind: Kind::Ranked,
                on_front: leads,
            });
        }
    }
    front.extend(top.map(|top| format!("{:.1},{:.1}", frame.right, to_y(top))));
    let edge = INSET / inside * span;
    let axes = Axes { x: [first.at as f64 - edge, last.at as f64 + edge], y: [low, high], kind: "time" };
    let ticks = linear_ticks(low, high, 4).into_iter().map(|(v, text)| Tick::new(to_y(v), text)).collect();
    Some(Timeline { marks, axes, front: front.join(" "), ticks, frame })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::plot::frame_fits;

    #[test]
    fn a_timeline_follows_the_best_whichever_way_is_better() {
        let event = |at, value| Event {
            at,
            value,
            team: String::new(),
            title: String::new(),
            href: String::new(),
            id: String::new(),
        };
        let events = [event(0, 0.5), event(10, 0.7), event(20, 0.4)];
        for (falls, leads) in [(true, [true, false, true]), (false, [true, true, false])] {
            let plot = timeline(&events, falls, PROGRESS).unwrap();
            assert_eq!(plot.marks.iter().map(|m| m.on_front).collect::<Vec<_>>(), leads);
            assert!(plot.marks[0].y < plot.marks[2].y && plot.marks[0].y > plot.marks[1].y, "up is more");
            frame_fits(&plot.axes, PROGRESS, &plot.marks);
        }
        assert!(timeline(&events[..1], true, PROGRESS).is_none());
    }

    #[test]
    fn progress_keeps_the_best() {
        let entry = |value: f64| (value, String::new(), String::new(), false);
        let plot = progress(&[entry(28.0), entry(29.0), entry(28.5)], PROGRESS).unwrap();
        let ys: Vec<f64> = plot.dots.iter().map(|d| d.y).collect();
        assert!(ys[1] < ys[2] && ys[2] < ys[0], "higher is better: {ys:?}");
        assert!(plot.best.ends_with(&format!("{:.1}", ys[1])), "{}", plot.best);
        assert!(progress(&[entry(28.0)], PROGRESS).is_none());
    }
}
