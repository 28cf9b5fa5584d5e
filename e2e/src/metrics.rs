//! Metrics in Prometheus' text format: one number by name and some labels.
//!
//! Tests ask the sidecar and the injector through [`Metrics::sum`]; a label that a test does not name may have any value.

use std::{collections::BTreeMap, fmt};

/// The samples of one scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

// === impl Metrics ===

impl Metrics {
    /// Parses a scrape; comments and lines that are no samples are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self {
            samples: lines.filter_map(sample).collect(),
        }
    }

    /// The sum of the samples with this name that have these labels; 0 if there is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let matching = self.samples.iter().filter(|sample| {
            let has = |(label, value): &(&str, &str)| {
                sample.labels.get(*label).is_some_and(|own| own == value)
            };
            sample.name == name && labels.iter().all(has)
        });
        matching.map(|sample| sample.value).sum()
    }

    /// The samples whose names begin with `prefix`, a line each, for messages.
    #[must_use]
    pub fn shown(&self, prefix: &str) -> String {
        let lines = self
            .samples
            .iter()
            .filter(|sample| sample.name.starts_with(prefix));
        lines.map(|sample| format!("\n    {sample}")).collect()
    }
}

// === impl Sample ===

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?} {}", self.name, self.labels, self.value)
    }
}

/// `name{label="value",…} 1.5`, the labels and a timestamp being optional.
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at_checked(end)?;
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.insert(label.trim_start_matches(',').to_owned(), value);
            rest = after;
        }
        rest = rest.strip_prefix('}')?;
    }
    Some(Sample {
        name: name.to_owned(),
        labels,
        value: rest.split_whitespace().next()?.parse().ok()?,
    })
}

/// A value up to its closing quote, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(index + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_some_of_their_labels() {
        let metrics = Metrics::parse(
            "# TYPE requests counter\n\
             requests_total{reporter=\"source\",code=\"200\"} 3\n\
             requests_total{reporter=\"source\",code=\"503\"} 4 1700000000\n\
             requests_total{reporter=\"destination\",note=\"a \\\"b\\\\, }\"} 5\n\
             up 1\n\
             broken{ 1\n",
        );
        assert_eq!(
            metrics.sum("requests_total", &[("reporter", "source")]),
            7.0
        );
        assert_eq!(metrics.sum("requests_total", &[("code", "503")]), 4.0);
        assert_eq!(
            metrics.sum("requests_total", &[("note", "a \"b\\, }")]),
            5.0
        );
        assert_eq!(metrics.sum("up", &[]), 1.0);
        assert_eq!(metrics.sum("down", &[]), 0.0);
        assert_eq!(metrics.samples.len(), 4);
    }
}
