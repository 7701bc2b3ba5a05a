//! The table of the report: booktabs, each value with its rank as in AIM2020's, the best of each column in bold.

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat, Utc};

use super::{Board, Value};

/// Prints a character where the engine knows Unicode, and its number where it does not: pdfLaTeX stops at what it cannot set.
const UNICODE: &str = "\\providecommand{\\upscoreU}[2]{\\ifdefined\\Umathchar #2\\else U+#1\\fi}";

impl Board {
    /// A `table*` to `\input`; needs the packages booktabs and graphicx, and shrinks to the width of the page. `at`: when it is made.
    pub fn to_latex(&self, at: DateTime<Utc>) -> anyhow::Result<String> {
        let extras = self.extras();
        let width = 2 + extras.len() + self.shown().count();
        let track = self.track.as_deref().map(|slug| format!(", track {slug}")).unwrap_or_default();
        let label = self.track.as_deref().map(|slug| format!("-{slug}")).unwrap_or_default();
        let names = extras.iter().map(|title| latex(title)).chain(self.shown().map(|(_, name, _)| latex(name)));
        let units = extras.iter().map(|_| "").chain(self.shown().map(|(_, _, unit)| unit));
        let units = units.map(|unit| if unit.is_empty() { String::new() } else { format!("[{unit}]") });
        let mut out = String::new();
        let _ = writeln!(
            out,
            "% Upscore: {} {}{track}, protocol {}, {}\n% SHA-256 of the board: {}\n% In the preamble: \\usepackage{{booktabs,graphicx}}\n{UNICODE}",
            self.challenge,
            self.phase,
            self.protocol,
            at.to_rfc3339_opts(SecondsFormat::Secs, true),
            self.sha256()?
        );
        let _ = writeln!(
            out,
            "\\begin{{table*}}[t]\n\\centering\n\\footnotesize\n\\setlength{{\\tabcolsep}}{{3pt}}\n\\caption{{{}}}\n\\label{{tab:{}-{}{label}}}\n\
             \\sbox0{{\\begin{{tabular}}{{rl{}}}\n\\toprule\n\\# & Team & {} \\\\\n & & {} \\\\\n\\midrule",
            latex(&format!("{} {}{track}. {}", self.challenge, self.phase, self.table_caption())),
            self.challenge,
            self.phase,
            "r".repeat(width - 2),
            names.collect::<Vec<_>>().join(" & "),
            units.collect::<Vec<_>>().join(" & "),
        );
        let (mut below, mut divided) = (false, false);
        for line in &self.lines() {
            if line.rank.is_none() && !below && !self.ranked.is_empty() {
                out.push_str("\\midrule\n");
                below = true;
            }
            if line.note.is_some() && !divided {
                let _ = writeln!(out, "\\midrule\n\\multicolumn{{{width}}}{{l}}{{\\emph{{Not ranked}}}} \\\\");
                divided = true;
            }
            let name = latex(line.team);
            let name = if line.baseline { format!("\\emph{{{name}}}") } else { name };
            let rank = line.rank.map_or("--".to_owned(), |r| r.to_string());
            let cells: Vec<_> = self.values(line).iter().map(cell).collect();
            let _ = writeln!(out, "{rank} & {name} & {} \\\\", cells.join(" & "));
            if let Some(reason) = line.note {
                let _ = writeln!(
                    out,
                    " & \\multicolumn{{{}}}{{l}}{{\\quad\\scriptsize {}}} \\\\",
                    width - 1,
                    latex(&reason.message)
                );
            }
        }
        out.push_str("\\bottomrule\n\\end{tabular}}%\n\\ifdim\\wd0>\\textwidth\\resizebox{\\textwidth}{!}{\\usebox0}\\else\\usebox0\\fi\n\\end{table*}\n");
        Ok(out)
    }

    /// Says also what the superscripts are.
    fn table_caption(&self) -> String {
        format!("{} Superscripts are ranks; the best of each column is bold.", self.caption())
    }
}

/// `$37.0^{(1)}$`, bold where the rank is the first.
fn cell(value: &Value) -> String {
    match (&value.text, value.rank) {
        (None, _) => "--".into(),
        (Some(text), None) => format!("${}$", math(text)),
        (Some(text), Some(1)) => format!("$\\mathbf{{{}}}^{{(1)}}$", math(text)),
        (Some(text), Some(rank)) => format!("${}^{{({rank})}}$", math(text)),
    }
}

/// A number of ours; `10^347.4` is the only one that is more than digits.
fn math(number: &str) -> String {
    match number.split_once('^') {
        Some((base, power)) => format!("{{{base}^{{{power}}}}}"),
        None => number.into(),
    }
}

/// Words as LaTeX sets them in text, whatever they hold.
fn latex(words: &str) -> String {
    let mut out = String::new();
    let mut last = ' ';
    for c in words.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("\\textless{}"),
            '>' => out.push_str("\\textgreater{}"),
            '|' => out.push_str("\\textbar{}"),
            '"' => out.push_str("''"),
            // Two in a row would become one sign.
            '-' | '\'' | '`' if last == c => out.extend(['{', '}', c]),
            '×' => out.push_str("$\\times$"),
            '·' => out.push_str("$\\cdot$"),
            '±' => out.push_str("$\\pm$"),
            '–' => out.push_str("--"),
            '—' => out.push_str("---"),
            '‘' => out.push('`'),
            '’' => out.push('\''),
            '“' => out.push_str("``"),
            '”' => out.push_str("''"),
            '…' => out.push_str("\\ldots{}"),
            c if c.is_control() => out.push(' '),
            // Unseen, and able to turn the line around.
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {}
            c if c.is_ascii() => out.push(c),
            // Accented Latin letters, which every engine knows; four of that block need another font encoding.
            'À'..='Ö' | 'Ø'..='ö' | 'ø'..='ÿ' if !matches!(c, 'Ð' | 'ð' | 'Þ' | 'þ') => out.push(c),
            c => {
                let _ = write!(out, "\\upscoreU{{{:04X}}}{{{c}}}", u32::from(c));
            }
        }
        last = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_cannot_break_out_of_their_cell() {
        assert_eq!(latex(r"a_b & \input{x}"), r"a\_b \& \textbackslash{}input\{x\}");
        assert_eq!(latex("50%#$~^"), r"50\%\#\$\textasciitilde{}\textasciicircum{}");
        assert_eq!(latex("a--b\nc"), "a-{}-b c");
        assert_eq!(latex("Zoë 中\u{202e}"), "Zoë \\upscoreU{4E2D}{中}");
    }

    #[test]
    fn a_value_carries_its_rank() {
        let value = |text: &str, rank| cell(&Value { text: Some(text.into()), rank });
        assert_eq!(value("37.0", Some(1)), r"$\mathbf{37.0}^{(1)}$");
        assert_eq!(value("37.0", Some(2)), "$37.0^{(2)}$");
        assert_eq!(value("10^347.4", None), "${10^{347.4}}$");
        assert_eq!(cell(&Value::default()), "--");
    }
}
