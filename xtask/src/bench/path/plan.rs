//! Who takes part in a run and what is measured, from the arguments.
//!
//! `path` starts the entries in this order and follows the course; ours come first, because ratios are theirs to the others.
//! Programs are copied to where the sidecars' user may run them.

use anyhow::ensure;

use super::{
    Args,
    contender::{Carrier, Entry},
    envoy::{self, Features},
    figures::{Course, Figures},
    table::{Family, Named, Report},
};
use crate::lab::Lab;

/// Every contender of the run; notes on the programs go to the report.
pub(super) fn entries(args: &Args, lab: &Lab, report: &mut Report) -> anyhow::Result<Vec<Entry>> {
    let ours = lab.folder().join("agent");
    let agent = |program: &std::path::Path| Carrier::Agent {
        program: program.to_owned(),
        log: args.access_log,
    };
    let (plain, mtls) = (Family::Plain, Family::Mtls);
    let mut entries = vec![
        entry("ours", plain, Some(agent(&ours))),
        entry("ours mTLS", mtls, Some(agent(&ours))),
    ];
    if let Some(against) = &args.against {
        let other = lab.install(against, "other-agent")?;
        entries.push(entry("other", plain, Some(agent(&other))));
        entries.push(entry("other mTLS", mtls, Some(agent(&other))));
    }
    if !args.quick || args.against.is_none() {
        let program = envoy::program(args.envoy.as_deref())?;
        report.notes.push(("Envoy", envoy::version(&program)?));
        let program = lab.install(&program, "envoy")?;
        let envoy = |features| {
            let program = program.clone();
            Some(Carrier::Envoy { program, features })
        };
        entries.push(entry("envoy", plain, envoy(Features::Bare)));
        entries.push(entry("envoy mTLS", mtls, envoy(Features::Bare)));
        if !args.quick {
            entries.push(entry("envoy+", plain, envoy(Features::Istio)));
            entries.push(entry("envoy+ mTLS", mtls, envoy(Features::Istio)));
        }
    }
    match &args.ztunnel {
        Some(_) if args.quick => {}
        Some(ztunnel) => {
            let program = lab.install(ztunnel, "ztunnel")?;
            entries.push(entry("ztunnel", plain, Some(Carrier::Ztunnel { program })));
        }
        None => report
            .notes
            .push(("ztunnel", "not run: give --ztunnel".to_owned())),
    }
    if !args.quick {
        entries.push(entry("direct", plain, None));
    }
    entries.retain(|entry| args.only.is_empty() || args.only.contains(&entry.named.name));
    ensure!(!entries.is_empty(), "--only names no contender of this run");
    Ok(entries)
}

/// What is measured, and how long and how often.
pub(super) fn course(args: &Args) -> Course {
    let figures = match (args.figures.as_slice(), args.quick) {
        ([], true) => vec![Figures::Requests, Figures::SystemCalls],
        ([], false) => Figures::ALL.to_vec(),
        (given, _) => given.to_vec(),
    };
    Course {
        figures,
        connections: if args.quick {
            vec![32]
        } else {
            vec![1, 32, 256]
        },
        seconds: args.seconds,
        rounds: args.rounds,
    }
}

fn entry(name: &str, family: Family, carrier: Option<Carrier>) -> Entry {
    let named = Named {
        name: name.to_owned(),
        family,
        is_subject: name.starts_with("ours"),
    };
    Entry { named, carrier }
}
