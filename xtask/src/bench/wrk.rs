//! wrk, the program that makes HTTP load.
//!
//! Called by the benches with a command that says to whom and how; gives what wrk measured.
//! A run in which any request failed is an error and no measurement.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, bail};

use crate::project;

/// What wrk says of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Run {
    pub(super) n_requests: f64,
    pub(super) requests_per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// Known only where [`PERCENTILES`] is the script.
    pub(super) p999_us: Option<f64>,
}

/// A script that has wrk print a percentile which it prints of itself never.
pub(super) const PERCENTILES: &str = "done = function(summary, latency, requests)\n\
    \x20 io.write(string.format('     99.9%% %dus\\n', latency:percentile(99.9)))\n\
    end\n";

/// wrk in PATH.
pub(super) fn find() -> anyhow::Result<PathBuf> {
    project::find_program("wrk").context("wrk is not installed: apt-get install wrk")
}

/// Options for one thread that keeps `n_connections` open for some seconds.
pub(super) fn configure(command: &mut Command, n_connections: u32, seconds: u32) {
    command
        .args(["--threads", "1", "--latency"])
        .args(["--connections", &n_connections.to_string()])
        .args(["--duration", &format!("{seconds}s")])
        // On a busy machine an answer can take longer than wrk's own two seconds, which is a figure and no failure.
        .args(["--timeout", "20s"]);
}

impl Run {
    /// Reads what wrk wrote to standard output.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        if text.contains("Non-2xx") || text.contains("Socket errors") {
            bail!("wrk reports failures:\n{text}");
        }
        let field = |key: &str| {
            text.lines()
                .find_map(|line| line.trim().strip_prefix(key))
                .map(str::trim)
                .with_context(|| format!("wrk printed no {key}:\n{text}"))
        };
        let n_requests = text
            .lines()
            .find_map(|line| line.split_once(" requests in "))
            .and_then(|(number, _)| number.trim().parse().ok())
            .context("wrk printed no number of requests")?;
        Ok(Self {
            n_requests,
            requests_per_second: field("Requests/sec:")?.parse()?,
            p50_us: micros(field("50%")?)?,
            p99_us: micros(field("99%")?)?,
            p999_us: field("99.9%").ok().map(micros).transpose()?,
        })
    }
}

/// Reads wrk's `12.30us`, `1.20ms`, `3.00s`.
fn micros(text: &str) -> anyhow::Result<f64> {
    let split = text
        .find(|letter: char| letter.is_alphabetic())
        .context("a time without a unit")?;
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => bail!("unknown unit of time in {text}"),
    };
    Ok(number.parse::<f64>()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_wrk_are_read_in_every_unit() {
        for (text, expected) in [("250.00us", 250.0), ("1.50ms", 1500.0), ("2.00s", 2e6)] {
            assert!((micros(text).unwrap() - expected).abs() < 1e-6, "{text}");
        }
        assert!(micros("12").is_err());
    }

    #[test]
    fn a_run_is_read_and_one_with_failures_is_refused() {
        let text = "  Latency Distribution\n     50%  718.00us\n     99%    1.14ms\n  2794 requests in 2.10s, 19.91MB read\nRequests/sec:   1330.58\n";
        assert_eq!(
            Run::parse(text).unwrap(),
            Run {
                n_requests: 2794.0,
                requests_per_second: 1330.58,
                p50_us: 718.0,
                p99_us: 1140.0,
                p999_us: None,
            }
        );
        let with_script = Run::parse(&format!("{text}     99.9% 2371us\n")).unwrap();
        assert_eq!(with_script.p999_us, Some(2371.0));
        assert!(Run::parse(&format!("{text}  Non-2xx or 3xx responses: 3\n")).is_err());
        assert!(Run::parse("").is_err());
    }
}
