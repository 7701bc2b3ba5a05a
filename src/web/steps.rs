//! The way of a submission as steps with words: the page draws them, the event stream sends them.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    lang::{say, t},
    view::span,
};
use crate::{
    evaluation::{Progress, Step},
    queue::{Position, State},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Done,
    Current,
    Todo,
    Failed,
}

impl Status {
    pub fn as_str(&self) -> &'static str {
        match self {
            Status::Done => "done",
            Status::Current => "current",
            Status::Todo => "todo",
            Status::Failed => "failed",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct StepView {
    pub name: &'static str,
    pub status: Status,
    /// `3 of 5`, `next in line, about 2 min`.
    pub detail: String,
}

/// Where a submission is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Steps {
    pub steps: Vec<StepView>,
    /// 0…100, over all steps.
    pub percent: u8,
    /// One sentence.
    pub line: String,
}

/// In the order they happen, with how much of the whole each takes, in percent.
const EVALUATION: [(Step, &str, u64); 4] = [
    (Step::Scoring, "scoring", 20),
    (Step::Counting, "counting", 10),
    (Step::Reproducing, "reproducing", 40),
    (Step::Timing, "timing", 20),
];
/// Percent that are done when the evaluation starts.
const STARTED: u64 = 10;

impl Steps {
    pub fn of(state: State, progress: Option<Progress>, position: Option<Position>) -> Steps {
        let mut steps = vec![step("received", Status::Done, ""), step("vetted", Status::Done, "")];
        let (queued, waiting) = queue_words(state, position);
        steps.push(StepView { name: "queued", status: queued, detail: waiting.clone() });
        let at = progress.and_then(|p| EVALUATION.iter().position(|(step, ..)| *step == p.step));
        let mut percent = if state == State::Running { STARTED } else { 5 };
        let mut line = match state {
            State::Queued if waiting.is_empty() => t("Waiting for a worker.").to_owned(),
            State::Queued => say("Waiting for a worker: %{place}.").with("place", &waiting).into(),
            _ => t("A worker has taken it and is starting.").to_owned(),
        };
        for (i, (_, name, share)) in EVALUATION.into_iter().enumerate() {
            let here = at == Some(i);
            let done = match progress {
                Some(p) if here && p.total > 0 => of(p.done.min(p.total), p.total),
                _ => String::new(),
            };
            let status = match state {
                State::Scored => Status::Done,
                State::Queued => Status::Todo,
                _ if at.is_some_and(|at| i < at) => Status::Done,
                State::Running if here => Status::Current,
                State::Failed if here || (at.is_none() && i == 0) => Status::Failed,
                _ => Status::Todo,
            };
            if state == State::Running {
                let part = match progress {
                    Some(p) if here && p.total > 0 => share * u64::from(p.done.min(p.total)) / u64::from(p.total),
                    _ if status == Status::Done => share,
                    _ => 0,
                };
                percent += part;
                if here {
                    line = if done.is_empty() {
                        say("%{doing}.").with("doing", doing(i)).into()
                    } else {
                        say("%{doing}: %{done}.").with("doing", doing(i)).with("done", &done).into()
                    };
                }
            }
            steps.push(StepView { name, status, detail: done });
        }
        let last = match state {
            State::Scored => Status::Done,
            State::Failed | State::Cancelled => Status::Failed,
            _ => Status::Todo,
        };
        let name = match state {
            State::Failed => "failed",
            State::Cancelled => "cancelled",
            _ => "scored",
        };
        steps.push(step(name, last, ""));
        if state.is_final() {
            percent = 100;
            line = match state {
                State::Failed => t("Failed."),
                State::Cancelled => t("Cancelled."),
                _ => t("Scored."),
            }
            .to_owned();
        }
        Steps { steps, percent: percent.min(100) as u8, line }
    }
}

fn step(name: &'static str, status: Status, detail: &str) -> StepView {
    StepView { name, status, detail: detail.to_owned() }
}

/// `3 of 7`.
fn of(some: impl std::fmt::Display, all: impl std::fmt::Display) -> String {
    say("%{some} of %{all}").with("some", some).with("all", all).into()
}

fn doing(i: usize) -> &'static str {
    [
        t("Scoring the uploaded images against the hidden ones"),
        t("Counting parameters, FLOPs and activations"),
        t("Running the model on the LR images and comparing"),
        t("Timing the model beside the baseline"),
    ][i]
}

fn queue_words(state: State, position: Option<Position>) -> (Status, String) {
    if state != State::Queued {
        let cancelled = state == State::Cancelled;
        return (if cancelled { Status::Todo } else { Status::Done }, String::new());
    }
    let words = position.map_or_else(String::new, |p| {
        let place = if p.position <= 1 { t("next in line").to_owned() } else { of(p.position, p.of) };
        match p.estimate_s {
            Some(s) if s >= 5 => {
                say("%{place}, about %{span}").with("place", place).with("span", span(s.unsigned_abs())).into()
            }
            _ => place,
        }
    });
    (Status::Current, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_tell_where_it_is() {
        let waiting = Steps::of(State::Queued, None, Some(Position { position: 3, of: 7, estimate_s: Some(240) }));
        assert_eq!(waiting.steps[2].detail, "3 of 7, about 4 min");
        assert_eq!(waiting.line, "Waiting for a worker: 3 of 7, about 4 min.");
        let progress = Progress { step: Step::Reproducing, done: 37, total: 100 };
        let running = Steps::of(State::Running, Some(progress), None);
        let words: Vec<_> = running.steps.iter().map(|s| (s.name, s.status.as_str(), s.detail.as_str())).collect();
        assert_eq!(words[5], ("reproducing", "current", "37 of 100"));
        assert_eq!(words[4].1, "done");
        assert_eq!(words[6].1, "todo");
        assert_eq!(running.percent, 10 + 20 + 10 + 14);
        assert_eq!(Steps::of(State::Scored, None, None).percent, 100);
    }
}
