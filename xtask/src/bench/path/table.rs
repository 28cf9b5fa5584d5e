//! What was measured, as one structure that both the table and the JSON are made of.
//!
//! `path` fills a [`Report`] row by row, a sample for each contender and round; nothing here measures or decides.
//! A ratio is the median over the rounds of ratios within a round, because what else runs on the machine changes between rounds.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// Everything that one run of the bench says.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) contenders: Vec<Named>,
    pub(super) rows: Vec<Row>,
    /// Remarks on how it was measured, such as programs, versions and the machine's load.
    pub(super) notes: Vec<(&'static str, String)>,
}

/// A contender as the report knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    /// Which table its column is in.
    pub(super) family: Family,
    /// Whether its ratios to the others of its family are shown.
    pub(super) is_subject: bool,
}

/// Contenders that do the same work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Plain,
    Mtls,
}

/// One figure of every contender.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// What the load was.
    pub(super) group: String,
    /// The figure and its unit.
    pub(super) figure: &'static str,
    /// How many digits are shown after the point.
    pub(super) digits: usize,
    /// By contender, then by round; empty where it does not apply.
    pub(super) samples: Vec<Vec<f64>>,
}

/// A median and how far the rounds lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Summary {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

// === impl Report ===

impl Report {
    /// Adds a sample of a contender, and the row if it is the first.
    pub(super) fn add(
        &mut self,
        group: &str,
        (figure, digits): (&'static str, usize),
        contender: usize,
        value: f64,
    ) {
        let known = self
            .rows
            .iter()
            .position(|row| row.group == group && row.figure == figure);
        let position = known.unwrap_or_else(|| {
            self.rows.push(Row {
                group: group.to_owned(),
                figure,
                digits,
                samples: vec![Vec::new(); self.contenders.len()],
            });
            self.rows.len() - 1
        });
        let row = self.rows.get_mut(position);
        if let Some(samples) = row.and_then(|row| row.samples.get_mut(contender)) {
            samples.push(value);
        }
    }

    /// The row of a figure.
    pub(super) fn row(&self, group: &str, figure: &str) -> Option<&Row> {
        self.rows
            .iter()
            .find(|row| row.group == group && row.figure == figure)
    }

    /// The tables as Markdown, which people read on a terminal as well.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.notes {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name}: {value}");
        }
        for (family, title) in [(Family::Plain, "plaintext"), (Family::Mtls, "mTLS")] {
            let lines = self.table(family);
            if lines.len() > 1 {
                let _ = write!(text, "\n{}", aligned(title, &lines));
            }
        }
        text
    }

    /// Everything, each sample included.
    pub(super) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let contenders = self.contenders.iter().zip(&row.samples);
            let values = contenders.filter_map(|(contender, samples)| {
                let summary = Summary::of(samples)?;
                Some((
                    contender.name.clone(),
                    json!({ "median": summary.median, "min": summary.min, "max": summary.max, "samples": samples }),
                ))
            });
            let ratios = self.pairs().filter_map(|(subject, other)| {
                let ratio = row.ratio(subject, other)?;
                Some((
                    self.pair_name(subject, other),
                    json!({ "median": ratio.median, "min": ratio.min, "max": ratio.max }),
                ))
            });
            json!({
                "load": row.group,
                "figure": row.figure,
                "contenders": values.collect::<serde_json::Map<_, _>>(),
                "ratios": ratios.collect::<serde_json::Map<_, _>>(),
            })
        });
        let notes = self.notes.iter();
        let notes = notes.map(|(name, value)| ((*name).to_owned(), json!(value)));
        json!({
            "notes": notes.collect::<serde_json::Map<_, _>>(),
            "rows": rows.collect::<Vec<_>>(),
        })
    }

    /// The head and a line for each row that anyone of the family has.
    fn table(&self, family: Family) -> Vec<Vec<String>> {
        let columns = || {
            let contenders = self.contenders.iter().enumerate();
            contenders.filter(move |(_, contender)| contender.family == family)
        };
        let pairs = || {
            self.pairs().filter(move |(subject, _)| {
                let subject = self.contenders.get(*subject);
                subject.is_some_and(|subject| subject.family == family)
            })
        };
        let mut head = vec!["load".to_owned(), "figure".to_owned()];
        head.extend(columns().map(|(_, contender)| contender.name.clone()));
        head.extend(pairs().map(|(subject, other)| self.pair_name(subject, other)));
        let mut lines = vec![head];
        for row in &self.rows {
            let summary = |contender: usize| Summary::of(row.samples.get(contender)?);
            if columns().all(|(contender, _)| summary(contender).is_none()) {
                continue;
            }
            let mut line = vec![row.group.clone(), row.figure.to_owned()];
            line.extend(columns().map(|(contender, _)| cell(summary(contender), row.digits)));
            line.extend(pairs().map(|(subject, other)| cell(row.ratio(subject, other), 2)));
            lines.push(line);
        }
        lines
    }

    /// Every subject with each other contender of its family.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let subjects = self.contenders.iter().enumerate();
        let subjects = subjects.filter(|(_, contender)| contender.is_subject);
        subjects.flat_map(move |(subject, named)| {
            let others = self.contenders.iter().enumerate();
            let others = others.filter(move |(other, contender)| {
                *other != subject && contender.family == named.family
            });
            others.map(move |(other, _)| (subject, other))
        })
    }

    /// How the ratio of two contenders is called.
    pub(super) fn pair_name(&self, subject: usize, other: usize) -> String {
        let name = |position: usize| {
            self.contenders
                .get(position)
                .map_or("", |c| c.name.as_str())
        };
        format!("{}/{}", name(subject), name(other))
    }
}

// === impl Row ===

impl Row {
    /// How a contender compares with another, round by round.
    pub(super) fn ratio(&self, subject: usize, other: usize) -> Option<Summary> {
        let (subject, other) = (self.samples.get(subject)?, self.samples.get(other)?);
        let ratios = subject.iter().zip(other).map(|(a, b)| a / b);
        Summary::of(&ratios.filter(|ratio| ratio.is_finite()).collect::<Vec<_>>())
    }
}

// === impl Summary ===

impl Summary {
    /// `None` of nothing.
    pub(super) fn of(samples: &[f64]) -> Option<Self> {
        let mut samples = samples.to_vec();
        samples.sort_by(f64::total_cmp);
        Some(Self {
            median: samples.get(samples.len() / 2).copied()?,
            min: samples.first().copied()?,
            max: samples.last().copied()?,
        })
    }

    /// Half of what the rounds lie apart, as a share of the median, in per cent.
    fn spread(self) -> f64 {
        if self.median == 0.0 {
            return 0.0;
        }
        (self.max - self.min) / 2.0 / self.median * 100.0
    }
}

/// A median with its spread; the latter only where there is one to speak of.
fn cell(summary: Option<Summary>, digits: usize) -> String {
    match summary {
        None => String::new(),
        Some(summary) if summary.spread() < 0.5 => format!("{:.digits$}", summary.median),
        Some(summary) => format!("{:.digits$} ±{:.0} %", summary.median, summary.spread()),
    }
}

/// Lines of cells as a Markdown table whose columns line up; the first two columns are words, the rest numbers.
fn aligned(title: &str, lines: &[Vec<String>]) -> String {
    let n_columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..n_columns).map(width).collect();
    let mut text = format!("{title}\n\n");
    for (position, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(&widths).enumerate();
        for (column, (cell, &width)) in cells {
            let _ = match column {
                0 | 1 => write!(text, "| {cell:<width$} "),
                _ => write!(text, "| {cell:>width$} "),
            };
        }
        text.push_str("|\n");
        if position == 0 {
            for (column, &width) in widths.iter().enumerate() {
                let end = if column < 2 { "-" } else { ":" };
                let _ = write!(text, "|{:-<width$}{end}", "-", width = width + 1);
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let named = |name: &str, family, is_subject| Named {
            name: name.to_owned(),
            family,
            is_subject,
        };
        let mut report = Report {
            contenders: vec![
                named("ours", Family::Plain, true),
                named("envoy", Family::Plain, false),
                named("ours mTLS", Family::Mtls, true),
            ],
            ..Report::default()
        };
        for (contender, values) in [(0, [20.0, 10.0, 12.0]), (1, [80.0, 50.0, 60.0])] {
            for value in values {
                report.add("32 connections", ("CPU", 1), contender, value);
            }
        }
        report.add("idle", ("resident MB", 2), 0, 4.5);
        report
    }

    #[test]
    fn a_ratio_is_the_median_of_the_ratios_within_a_round() {
        let report = report();
        let ratio = report.row("32 connections", "CPU").unwrap().ratio(0, 1);
        let expected = Summary {
            median: 0.2,
            min: 0.2,
            max: 0.25,
        };
        assert_eq!(ratio, Some(expected));
    }

    #[test]
    fn a_table_has_a_line_for_each_figure_and_a_column_for_each_contender_and_pair() {
        let text = report().text();
        let rows: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|line| line.split('|').map(str::trim).collect())
            .collect();
        let expected = [
            ["", "load", "figure", "ours", "envoy", "ours/envoy", ""],
            [
                "",
                "32 connections",
                "CPU",
                "12.0 ±42 %",
                "60.0 ±25 %",
                "0.20 ±12 %",
                "",
            ],
            ["", "idle", "resident MB", "4.50", "", "", ""],
        ];
        assert_eq!(
            [&rows[0], &rows[2], &rows[3]],
            [&expected[0], &expected[1], &expected[2]]
        );
        assert!(rows[1][3].ends_with(':'), "numbers are right-aligned");
        assert!(
            !text.contains("mTLS"),
            "a family without figures has no table"
        );
    }

    #[test]
    fn json_holds_every_sample_and_the_ratios() {
        let json = report().json();
        let row = &json["rows"][0];
        assert_eq!(
            row["contenders"]["ours"]["samples"],
            json!([20.0, 10.0, 12.0])
        );
        assert_eq!(row["contenders"]["envoy"]["median"], json!(60.0));
        assert_eq!(row["ratios"]["ours/envoy"]["median"], json!(0.2));
        assert_eq!(row["contenders"]["ours mTLS"], Value::Null);
    }
}
