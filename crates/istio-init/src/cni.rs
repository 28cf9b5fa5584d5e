//! The CNI plugin: the same rules, set from the node before any container of the pod starts.
//!
//! Called by [`app`](crate::app) where the container runtime runs this program as a plugin; reads the request, decides by the pod's annotations,
//! enters the pod's network namespace and calls [`apply`](crate::apply). What is asked for and cannot be done is an error, and then the runtime does
//! not start the pod: no pod of the mesh runs uncaptured because something was not understood.
//!
//! ```text
//! environment, stdin ─ request ─► Request ─ decision ─► Capture ─ rules ─► Plan ─ namespace ─► the pod's kernel rules
//!                                                └────► not of the mesh: the result of the plugin before is passed on
//! ```

mod decision;
mod error;
pub mod install;
mod namespace;
mod request;
mod result;

use std::{
    ffi::{OsStr, OsString},
    io::{Read, Write},
    path::Path,
};

use contract::{cni::PLUGIN, exit};

use self::{
    decision::Decision,
    error::CniError,
    request::{Command, Request},
};
use crate::{
    apply::Namespace,
    error::chain,
    log::{Format, Level},
    plan::{Backend, Plan},
    rules,
};

/// What the program is called for, apart from its work in an init container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// `istio-init cni`, or run under the plugin's name: one request of the container runtime.
    Plugin,
    /// `istio-init install-cni FLAGS`: put the plugin on the node and keep it there.
    Installer(Vec<OsString>),
}

// === impl Role ===

impl Role {
    /// Reads the name that the program was started by and its arguments; nothing if they are those of an init container.
    pub fn of(program: Option<&OsStr>, arguments: &[OsString]) -> Option<Self> {
        let name = program.map(Path::new).and_then(Path::file_name);
        let (first, rest) = arguments.split_first().unzip();
        match first.and_then(|word| word.to_str()) {
            Some("cni") => Some(Self::Plugin),
            Some("install-cni") => Some(Self::Installer(rest.unwrap_or_default().to_vec())),
            // The runtime gives no arguments.
            None if name == Some(OsStr::new(PLUGIN)) => Some(Self::Plugin),
            Some(_) | None => None,
        }
    }
}

/// Does what the runtime asks for and answers on `output`; returns the exit code.
pub fn run(
    variable: &dyn Fn(&str) -> Option<OsString>,
    input: &mut dyn Read,
    output: &mut dyn Write,
) -> u8 {
    let (version, outcome) = match Request::read(variable, input) {
        Ok(request) => (request.version(), serve(&request)),
        Err(error) => (request::NEWEST, Err(error)),
    };
    let (text, code) = match outcome {
        Ok(text) => (text, exit::OK),
        Err(error) => {
            Format::Plain.write(Level::Error, &chain(&error));
            (error.json(version), exit::FAILED)
        }
    };
    // A runtime that does not read the answer sees the exit code, which then must not say success.
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        Ok(()) => code,
        Err(_) => exit::FAILED,
    }
}

/// The text for standard output.
fn serve(request: &Request) -> Result<String, CniError> {
    match request.command {
        Command::Version => Ok(request::versions(request.version())),
        Command::Add => {
            let result = result::passed_on(request)?;
            if let Some(mut pod) = enter(request)? {
                let outcome = pod.namespace.apply(&pod.plan, false)?;
                Format::Plain.write(Level::Info, &format!("{}: {outcome}", request.pod()));
            }
            Ok(result)
        }
        Command::Check => {
            result::passed_on(request)?;
            if let Some(mut pod) = enter(request)?
                && !pod.namespace.holds(&pod.plan)?
            {
                let pod = request.pod();
                return Err(CniError::Drift { pod });
            }
            Ok(String::new())
        }
        Command::Del => {
            withdraw(request);
            Ok(String::new())
        }
        Command::Status => namespace::usable().map(|()| String::new()),
        // Rules live in the pod's namespace and go with it.
        Command::Gc => Ok(String::new()),
    }
}

/// A pod whose namespace this process has entered.
struct Pod {
    namespace: Namespace,
    plan: Plan,
}

/// Enters the pod's namespace and plans its rules, if it is to have any.
fn enter(request: &Request) -> Result<Option<Pod>, CniError> {
    let capture = match decision::decide(request)? {
        Decision::Capture(capture) => capture,
        Decision::Pass => return Ok(None),
    };
    namespace::enter(request.namespace()?)?;
    let mut namespace = Namespace::open()?;
    let plan = rules::plan(&capture, namespace.families()?, Backend::Nftables);
    Ok(Some(Pod { namespace, plan }))
}

/// Takes the rules back, as far as there is anything to take them from: what stands in the way must not keep a pod from going.
fn withdraw(request: &Request) {
    let removed = match decision::decide(request) {
        Ok(Decision::Capture(_)) => request
            .namespace()
            .and_then(namespace::enter)
            .and_then(|()| Ok(Namespace::open()?.remove()?)),
        Ok(Decision::Pass) | Err(_) => return,
    };
    match removed {
        Ok(_) | Err(CniError::Variable { .. } | CniError::NoNamespace { .. }) => {}
        Err(error) => Format::Plain.write(Level::Warn, &chain(&error)),
    }
}
