//! The board as CSV, Markdown and LaTeX. Every format names the protocol, and every header its unit.

use std::fmt::Write;

use super::{Board, Figures, Ranks};
use crate::scoring::Reason;

/// One line of any table.
struct Line<'a> {
    rank: Option<u32>,
    team: &'a str,
    submission: Option<String>,
    /// The baseline's may be all there is of it.
    psnr: Option<f64>,
    figures: Option<&'a Figures>,
    ranks: Option<&'a Ranks>,
    note: Option<&'a Reason>,
    baseline: bool,
}

impl Board {
    /// Ranked first, then the baseline, then the others.
    fn lines(&self) -> Vec<Line<'_>> {
        let ranked = self.ranked.iter().map(|r| Line {
            rank: Some(r.rank),
            team: &r.team,
            submission: Some(r.submission.to_string()),
            psnr: Some(r.figures.psnr),
            figures: Some(&r.figures),
            ranks: Some(&r.ranks),
            note: None,
            baseline: false,
        });
        let baseline = self.baseline.iter().map(|b| Line {
            rank: None,
            team: &b.team,
            submission: b.submission.map(|id| id.to_string()),
            psnr: b.psnr,
            figures: b.figures.as_ref(),
            ranks: None,
            note: None,
            baseline: true,
        });
        let unranked = self.unranked.iter().map(|u| Line {
            rank: None,
            team: &u.team,
            submission: Some(u.submission.to_string()),
            psnr: Some(u.figures.psnr),
            figures: Some(&u.figures),
            ranks: None,
            note: Some(&u.reason),
            baseline: false,
        });
        ranked.chain(baseline).chain(unranked).collect()
    }

    /// RFC 4180, full precision, one line an entry. Text that a spreadsheet would take for a formula is quoted with `'`.
    pub fn to_csv(&self) -> String {
        let mut out = String::from(
            "rank,team,submission,psnr_db,ssim,params,flops,macs,activations,convs,memory_mib,runtime_ms,runtime_ratio,\
             runtime_ratio_low,runtime_ratio_high,runtime_noisy,rank_runtime,rank_params,rank_flops,rank_activations,\
             rank_memory,rank_psnr,rank_ssim,reproduction,status,reason,flops_profile,protocol\r\n",
        );
        for line in self.lines() {
            let f = line.figures;
            let r = line.ranks;
            let status = match (line.rank, line.note) {
                (Some(_), _) => "ranked",
                (None, Some(reason)) => &reason.code,
                (None, None) => "baseline",
            };
            let cells = [
                cell(line.rank),
                text(line.team),
                cell(line.submission.as_ref()),
                cell(line.psnr),
                cell(f.map(|f| f.ssim)),
                cell(f.map(|f| f.params)),
                cell(f.map(|f| f.flops)),
                cell(f.map(|f| f.macs)),
                cell(f.map(|f| f.activations)),
                cell(f.map(|f| f.convs)),
                cell(f.map(|f| f.memory_mib)),
                cell(f.map(|f| f.runtime_ms)),
                cell(f.and_then(|f| f.runtime_ratio)),
                cell(f.and_then(|f| f.runtime_ratio_ci95).map(|[low, _]| low)),
                cell(f.and_then(|f| f.runtime_ratio_ci95).map(|[_, high]| high)),
                cell(f.map(|f| f.noisy)),
                cell(r.and_then(|r| r.runtime)),
                cell(r.and_then(|r| r.params)),
                cell(r.and_then(|r| r.flops)),
                cell(r.and_then(|r| r.activations)),
                cell(r.and_then(|r| r.memory)),
                cell(r.and_then(|r| r.psnr)),
                cell(r.and_then(|r| r.ssim)),
                cell(f.map(|f| f.reproduction.as_str())),
                status.to_owned(),
                text(line.note.map_or("", |reason| &reason.message)),
                self.flops_profile.as_str().to_owned(),
                text(&self.protocol),
            ];
            out.push_str(&cells.join(","));
            out.push_str("\r\n");
        }
        out
    }

    /// A GitHub-flavoured table; ranks as superscripts.
    pub fn to_markdown(&self) -> String {
        let mut out = String::from(
            "| # | Team | PSNR dB | SSIM | Runtime ms | × baseline | Params M | FLOPs G | Acts M | Memory MiB | Convs | |\n\
             |---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|\n",
        );
        let sup = |rank: u32| format!("<sup>{rank}</sup>");
        for line in self.lines() {
            let name = markdown(line.team);
            let name = if line.baseline { format!("*{name}* (baseline)") } else { name };
            let rank = line.rank.map_or("–".to_owned(), |r| r.to_string());
            let note = markdown(line.note.map_or("", |reason| &reason.message));
            let _ = writeln!(out, "| {rank} | {name} | {} | {note} |", line.columns("–", sup).join(" | "));
        }
        let _ = writeln!(out, "\n{}", markdown(&self.caption()));
        out
    }

    /// A booktabs table; ranks as superscripts, the best of each column in bold.
    pub fn to_latex(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "% {} {}, protocol {}", self.challenge, self.phase, self.protocol);
        out.push_str(
            "\\begin{tabular}{rlrrrrrrrrr}\n\\toprule\n\\# & Team & PSNR & SSIM & Runtime & $\\times$ baseline & Params & \
             FLOPs & Acts & Memory & Convs \\\\\n & & [dB] & & [ms] & & [M] & [G] & [M] & [MiB] & \\\\\n\\midrule\n",
        );
        let sup = |rank: u32| format!("$^{{{rank}}}$");
        let lines = self.lines();
        let mut ruled = false;
        for line in &lines {
            if line.rank.is_none() && !ruled && !self.ranked.is_empty() {
                out.push_str("\\midrule\n");
                ruled = true;
            }
            let name = latex(line.team);
            let name = if line.baseline { format!("\\emph{{{name}}}") } else { name };
            let rank = line.rank.map_or("--".to_owned(), |r| r.to_string());
            let mut cells = line.columns("--", sup);
            if let Some(ranks) = line.ranks {
                for (cell, rank) in cells.iter_mut().zip(ranks.by_column()) {
                    if rank == Some(1) {
                        *cell = format!("\\textbf{{{cell}}}");
                    }
                }
            }
            let _ = writeln!(out, "{rank} & {name} & {} \\\\", cells.join(" & "));
            if let Some(reason) = line.note {
                let _ = writeln!(out, "% not ranked: {}", reason.message.replace(['\n', '\r'], " "));
            }
        }
        out.push_str("\\bottomrule\n\\end{tabular}\n");
        let _ = writeln!(out, "% {}", self.caption());
        out
    }

    /// What was measured, and by which rules.
    fn caption(&self) -> String {
        format!(
            "Protocol {}. Params, FLOPs ({} counter, a multiply-add is one), activations and convolutions at a 1×3×256×256 \
             input; runtime is the median of the forward pass per image; ranked by {}.",
            self.protocol,
            self.flops_profile.as_str(),
            self.metric.as_str()
        )
    }
}

impl Ranks {
    /// In the order of [`Line::columns`].
    fn by_column(&self) -> [Option<u32>; 9] {
        let Ranks { runtime, params, flops, activations, memory, psnr, ssim } = *self;
        [psnr, ssim, runtime, None, params, flops, activations, memory, None]
    }
}

impl Line<'_> {
    /// PSNR, SSIM, runtime, ratio, params, FLOPs, activations, memory, convs, as a reader wants them.
    fn columns(&self, missing: &str, superscript: impl Fn(u32) -> String) -> [String; 9] {
        let f = self.figures;
        let number = |value: Option<f64>, decimals: usize| value.map(|v| format!("{v:.decimals$}"));
        let million = |count: u64| count as f64 / 1e6;
        let values = [
            number(self.psnr, 2),
            number(f.map(|f| f.ssim), 4),
            number(f.map(|f| f.runtime_ms), 2),
            number(f.and_then(|f| f.runtime_ratio), 3),
            number(f.map(|f| million(f.params)), 3),
            number(f.map(|f| million(f.flops) / 1e3), 2),
            number(f.map(|f| million(f.activations)), 2),
            number(f.map(|f| f.memory_mib), 1),
            f.map(|f| f.convs.to_string()),
        ];
        let ranks = self.ranks.map(Ranks::by_column).unwrap_or_default();
        let mut ranks = ranks.into_iter();
        values.map(|value| {
            let rank = ranks.next().flatten().map(&superscript).unwrap_or_default();
            value.map_or(missing.to_owned(), |value| value + &rank)
        })
    }
}

fn cell(value: Option<impl std::fmt::Display>) -> String {
    value.map(|v| v.to_string()).unwrap_or_default()
}

/// Somebody's words as a CSV cell: always quoted, never a formula.
fn text(words: &str) -> String {
    let formula = words.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    format!("\"{}{}\"", if formula { "'" } else { "" }, words.replace('"', "\"\""))
}

fn markdown(words: &str) -> String {
    let mut out = String::new();
    for c in words.chars() {
        match c {
            '\\' | '|' | '*' | '_' | '`' | '[' | ']' | '#' | '~' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn latex(words: &str) -> String {
    let mut out = String::new();
    for c in words.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_cannot_break_out_of_their_cell() {
        assert_eq!(text("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(text("a,b"), "\"a,b\"");
        assert_eq!(text("@x"), "\"'@x\"");
        assert_eq!(latex(r"a_b & \input{x}"), r"a\_b \& \textbackslash{}input\{x\}");
        assert_eq!(markdown("a|b<script>"), "a\\|b&lt;script&gt;");
    }
}
