//! The program from arguments to exit code.
//!
//! Called by `main` with nothing; calls [`args`], [`rules`] and [`apply`](crate::apply) in this
//! order. Nothing else in the crate reads the process's environment or writes to its streams.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    io::{self, Write as _},
    net::IpAddr,
    path::Path,
};

use contract::{exit, paths};

use crate::{
    accounts::SystemAccounts,
    apply::{Namespace, Outcome},
    args::{self, Config, Invocation, LogOptions, Task, Warning},
    capture::{Capture, Dns},
    cni::{self, Role},
    error::Error,
    explain, iptables, live,
    log::Level,
    nft,
    plan::{Backend, Families, Plan},
    privilege,
    probe::{self, ValidationError},
    resolver,
    restore::{self, Toolbox, Whose},
    rules,
};

/// Does what the process's arguments and environment ask for; returns the exit code.
pub fn run() -> u8 {
    privilege::raise();
    let mut words = std::env::args_os();
    let program = words.next();
    let arguments: Vec<OsString> = words.collect();
    match Role::of(program.as_deref(), &arguments) {
        Some(Role::Plugin) => return cni::run(&variable, &mut io::stdin(), &mut io::stdout()),
        Some(Role::Installer(arguments)) => return cni::install::run(arguments, &variable),
        None => {}
    }
    let (request, arguments) = match arguments.split_first() {
        Some((first, rest)) if first == explain::COMMAND => {
            match explain::Request::read(rest.to_vec()) {
                Ok(request) => (Some(request.clone()), request.flags),
                Err(error) => return finish(Err(error.into()), LogOptions::default()),
            }
        }
        _ => (None, arguments),
    };
    let (log, invocation) = args::parse(arguments, &variable, &SystemAccounts);
    let outcome =
        invocation
            .map_err(Error::from)
            .and_then(|invocation| match (invocation, request) {
                (Invocation::Help, _) => print(&args::help()),
                (Invocation::Version, _) => print(concat!(env!("CARGO_PKG_VERSION"), "\n")),
                (Invocation::Run(config), None) => work(*config, log),
                (Invocation::Run(config), Some(request)) => answer(*config, &request, log),
            });
    finish(outcome, log)
}

/// Says what went wrong and returns the exit code.
fn finish(outcome: Result<(), Error>, log: LogOptions) -> u8 {
    match outcome {
        Ok(()) => exit::OK,
        Err(error) => {
            report(&error, log);
            error.exit_code()
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where this program reads its environment"
)]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn work(mut config: Config, log: LogOptions) -> Result<(), Error> {
    for warning in &config.warnings {
        log.format.write(Level::Warn, &warning.to_string());
    }
    let done = match config.task {
        Task::Apply { force } => apply(&mut config, force, log)?,
        Task::Cleanup => cleanup(&config)?.to_string(),
        Task::Nothing => "rules left as they are, as --skip-rule-apply says".to_owned(),
        Task::ShowCleanup => return print(&nft::render_cleanup(config.leftovers.is_some())),
        Task::ShowPlan(backend) => {
            let plan = plan(&mut config.capture, &mut Namespace::open()?, backend, log)?;
            return print(&match backend {
                Backend::Nftables => nft::render(&plan, config.leftovers.is_some()),
                Backend::Iptables => iptables::render(&plan),
            });
        }
    };
    if log.verbose {
        log.format.write(Level::Info, &done);
    }
    match (config.task, config.validation) {
        (Task::Apply { .. } | Task::Nothing, Some(options)) => validate(&mut config, options, log),
        _ => Ok(()),
    }
}

/// By one interface of the kernel, and then away with what the other one has of ours.
fn apply(config: &mut Config, force: bool, log: LogOptions) -> Result<String, Error> {
    let mut namespace = Namespace::open()?.with_leftovers(config.leftovers.clone());
    let plan = plan(&mut config.capture, &mut namespace, config.backend, log)?;
    match config.backend {
        Backend::Nftables => {
            let outcome = namespace.apply(&plan, force)?;
            if (outcome != Outcome::Unchanged || config.leftovers.is_some())
                && restore::has_legacy_tables()
                && let Err(error) = toolbox().remove_legacy(whose(config))
            {
                // Most likely these are somebody else's, and this process may not look at them.
                let error = Error::from(error).chain();
                log.format.write(Level::Warn, &error);
            }
            Ok(outcome.to_string())
        }
        Backend::Iptables => {
            let set = || Ok::<_, Error>(toolbox().apply(&plan, config.iptables)?);
            Ok(namespace.apply_by(&plan, set)?.to_string())
        }
    }
}

fn cleanup(config: &Config) -> Result<Outcome, Error> {
    let had_legacy = restore::has_legacy_tables() && toolbox().remove_legacy(whose(config))?;
    let mut namespace = Namespace::open()?.with_leftovers(config.leftovers.clone());
    Ok(match namespace.remove()? {
        Outcome::Absent if had_legacy => Outcome::Removed,
        outcome => outcome,
    })
}

/// Both families, because the pod that is asked about is not the one where this is run.
fn answer(mut config: Config, request: &explain::Request, log: LogOptions) -> Result<(), Error> {
    if request.is_live {
        return print(&request.answer(&live::plan()?, Backend::Nftables));
    }
    let families = Families::V4AndV6;
    find_dns_servers(&mut config.capture, families, log)?;
    let plan = rules::plan(&config.capture, families, config.backend);
    print(&request.answer(&plan, config.backend))
}

fn whose(config: &Config) -> Whose {
    match config.leftovers {
        Some(_) => Whose::OursAndIstios,
        None => Whose::Ours,
    }
}

fn toolbox() -> Toolbox {
    Toolbox::find(variable("PATH").as_deref())
}

fn validate(config: &mut Config, options: probe::Options, log: LogOptions) -> Result<(), Error> {
    let backend = config.backend;
    let capture = &mut config.capture;
    let mut namespace = Namespace::open()?;
    let plan = plan(capture, &mut namespace, backend, log)?;
    // Connections from inside do not show what happens to those from outside; the rules do, if this
    // process may look.
    if backend == Backend::Iptables && matches!(toolbox().is_in_force(&plan), Ok(false)) {
        let missing = "one of iptables".to_owned();
        return Err(ValidationError::Different { missing }.into());
    }
    let shown = probe::validate(&plan, backend, capture, options)?;
    if !namespace.routes_marks(&plan)? {
        return Err(ValidationError::Routes.into());
    }
    if log.verbose {
        log.format.write(Level::Info, &shown.to_string());
    }
    Ok(())
}

/// The plan for the namespace as it is now.
fn plan(
    capture: &mut Capture,
    namespace: &mut Namespace,
    backend: Backend,
    log: LogOptions,
) -> Result<Plan, Error> {
    let families = namespace.families()?;
    find_dns_servers(capture, families, log)?;
    Ok(rules::plan(capture, families, backend))
}

/// Completes the capture with what the container's resolver is configured for.
fn find_dns_servers(
    capture: &mut Capture,
    families: Families,
    log: LogOptions,
) -> Result<(), Error> {
    let servers = match &mut capture.dns {
        Dns::Servers(servers) if servers.is_empty() => servers,
        Dns::Servers(_) | Dns::Off | Dns::All => return Ok(()),
    };
    let found = resolver::servers(Path::new(paths::RESOLV_CONF));
    *servers = found.map_err(|source| Error::Resolver { source })?;
    let is_reachable = |server: &IpAddr| server.is_ipv4() || families == Families::V4AndV6;
    if !servers.iter().any(is_reachable) {
        let warning = Warning::NoDnsServer;
        log.format.write(Level::Warn, &warning.to_string());
    }
    Ok(())
}

fn print(text: &str) -> Result<(), Error> {
    let written = io::stdout()
        .write_all(text.as_bytes())
        .and_then(|()| io::stdout().flush());
    written.map_err(|source| Error::Output { source })
}

/// To standard error, a line for each problem, and to the file whose content Kubernetes shows as
/// the container's last words.
fn report(error: &Error, log: LogOptions) {
    match error {
        Error::Usage(error) => {
            for problem in &error.problems {
                log.format.write(Level::Error, &problem.to_string());
            }
        }
        Error::Apply(_)
        | Error::Explain(_)
        | Error::Live(_)
        | Error::Restore(_)
        | Error::Validation(_)
        | Error::Resolver { .. }
        | Error::Output { .. } => log.format.write(Level::Error, &error.chain()),
    }
    // Outside Kubernetes there is no such file, and none is made.
    if let Ok(mut file) = OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(paths::TERMINATION_LOG)
    {
        let _ = file.write_all(error.chain().as_bytes());
    }
}
