//! The installer: puts the plugin on its node, and keeps it there.
//!
//! Called by [`app`](crate::app) in a container that sees two folders of the node and nothing else of it: that of the CNI programs and that of the
//! network configurations. It looks when something changes there and every few seconds, and mends what others overwrite. It does not take the plugin
//! away when it ends unless told so: a node that restarts, or an upgrade, ends it too, and pods that start meanwhile need the plugin.

mod conflist;
mod files;
mod options;
mod watch;

use std::{
    ffi::OsString,
    fs,
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use contract::{
    cni::{EXCLUDE_NAMESPACES, PLUGIN, POD_ANNOTATIONS},
    exit,
};
use nix::errno::Errno;
use serde_json::{Value, json};

use self::{
    conflist::ConflistError,
    options::{Options, Task},
    watch::{Event, Watch},
};
use crate::{
    error::chain,
    log::{Format, Level},
};

/// Why the plugin is not in place.
#[derive(Debug, thiserror::Error)]
enum InstallError {
    /// A file or folder cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which one.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file cannot be written, or not be removed.
    #[error("cannot change {path}")]
    Write {
        /// Which one.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// There is no network configuration yet.
    #[error(
        "there is no network configuration in {folder}; waiting for the node's network plugin to write one"
    )]
    NoConfiguration {
        /// Where it is looked for.
        folder: PathBuf,
    },
    /// The configuration in use holds one plugin, and has no place for a second.
    #[error(
        "{path} is a configuration of one plugin, to which no other can be chained; have the network plugin write a .conflist"
    )]
    NotAList {
        /// The file.
        path: PathBuf,
    },
    /// The configuration in use cannot be extended.
    #[error("{path} cannot be used")]
    Conflist {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ConflistError,
    },
    /// Changes cannot be waited for.
    #[error("cannot watch {what}")]
    Watch {
        /// What for.
        what: String,
        /// The kernel's reason.
        source: Errno,
    },
    /// What was found by `--check`.
    #[error("{what} is not in place")]
    Missing {
        /// The program or the entry.
        what: String,
    },
}

/// What is to be on the node.
struct Installer {
    options: Options,
    /// This very program.
    program: Vec<u8>,
    /// The plugin's entry in the network configuration.
    entry: Value,
}

/// A change that brings the node closer to what it should be.
enum Step {
    /// Write the program.
    Program,
    /// Write the entry into this configuration, which has these contents.
    Entry {
        path: PathBuf,
        before: Vec<u8>,
        after: String,
    },
}

/// Between two looks where nothing is heard of: a file system that tells no changes, or a change that was missed.
const LOOK: Duration = Duration::from_secs(10);
/// After a change, so that a burst of them is one.
const PAUSE: Duration = Duration::from_millis(100);
/// After a repair, each time twice as long up to this, so that two who disagree do not spin.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Does what the arguments ask for; returns the exit code.
pub fn run(arguments: Vec<OsString>, variable: &dyn Fn(&str) -> Option<OsString>) -> u8 {
    let options = match Options::parse(arguments, variable) {
        Ok(options) => options,
        Err(error) => {
            for problem in &error.problems {
                Format::Plain.write(Level::Error, &problem.to_string());
            }
            return exit::USAGE;
        }
    };
    let format = options.format;
    let outcome = match options.task {
        Task::Help => print(&options::help()),
        Task::Check => Installer::new(options).and_then(|installer| installer.check()),
        Task::Keep => Installer::new(options).and_then(|installer| installer.keep()),
    };
    match outcome {
        Ok(()) => exit::OK,
        Err(error) => {
            format.write(Level::Error, &chain(&error));
            exit::FAILED
        }
    }
}

// === impl Installer ===

impl Installer {
    fn new(options: Options) -> Result<Self, InstallError> {
        let program = files::read(&PathBuf::from("/proc/self/exe"), files::PROGRAM_LIMIT)?;
        let mut entry = json!({"type": PLUGIN, "capabilities": {POD_ANNOTATIONS: true}});
        if !options.exclude_namespaces.is_empty() {
            entry[EXCLUDE_NAMESPACES] = json!(options.exclude_namespaces);
        }
        Ok(Self {
            options,
            program,
            entry,
        })
    }

    fn check(&self) -> Result<(), InstallError> {
        match self.pending()?.first() {
            None => Ok(()),
            Some(step) => Err(InstallError::Missing {
                what: self.name(step),
            }),
        }
    }

    /// Works until it is told to end.
    fn keep(&self) -> Result<(), InstallError> {
        let watch = Watch::over([&self.options.bin_dir, &self.options.conf_dir])?;
        let mut told = None;
        let mut pause = PAUSE;
        loop {
            let (news, next) = match self.converge() {
                Ok(done) if done.is_empty() => (None, PAUSE),
                Ok(done) => (
                    Some((Level::Info, done.join(", "))),
                    pause.saturating_mul(2),
                ),
                Err(error) => (Some((Level::Warn, chain(&error))), pause),
            };
            // What stays as it is is said once, and a repair each time.
            if let Some((level, text)) = news.as_ref().filter(|news| told.as_ref() != Some(*news)) {
                self.options.format.write(*level, text);
            }
            told = news.filter(|(level, _)| *level == Level::Warn);
            pause = next.min(LONGEST_PAUSE);
            let event = match watch.wait(LOOK)? {
                Event::End => Event::End,
                Event::Change | Event::Nothing => watch.pause(pause)?,
            };
            if event == Event::End {
                return self.end();
            }
        }
    }

    fn end(&self) -> Result<(), InstallError> {
        if !self.options.remove_on_exit {
            let text = "the plugin stays on this node; cni.removeOnExit would take it away";
            self.options.format.write(Level::Info, text);
            return Ok(());
        }
        self.remove()?;
        self.options
            .format
            .write(Level::Info, "the plugin is gone from this node");
        Ok(())
    }

    /// Changes what is to be changed; returns what that was.
    fn converge(&self) -> Result<Vec<String>, InstallError> {
        let mut done = Vec::new();
        for step in self.pending()? {
            let was_made = match &step {
                Step::Program => {
                    let path = self.program_path();
                    files::replace(&path, &self.program, 0o755, None)?
                }
                Step::Entry {
                    path,
                    before,
                    after,
                } => files::replace(path, after.as_bytes(), 0o600, Some(before))?,
            };
            if was_made {
                done.push(format!("{} is now in place", self.name(&step)));
            }
        }
        Ok(done)
    }

    /// The program comes first, because from the moment that the entry is there the runtime wants to run it.
    fn pending(&self) -> Result<Vec<Step>, InstallError> {
        let mut steps = Vec::new();
        if !files::holds(&self.program_path(), &self.program) {
            steps.push(Step::Program);
        }
        let path = files::active(&self.options.conf_dir, self.options.conf_name.as_deref())?;
        let before = files::read(&path, files::CONFIGURATION_LIMIT)?;
        let after = conflist::with(&before, &self.entry);
        let after = after.map_err(|source| InstallError::Conflist {
            path: path.clone(),
            source,
        })?;
        if let Some(after) = after {
            steps.push(Step::Entry {
                path,
                before,
                after,
            });
        }
        Ok(steps)
    }

    /// The entries come first, and from every configuration: the runtime must not look for a program that is gone.
    fn remove(&self) -> Result<(), InstallError> {
        for path in files::configurations(&self.options.conf_dir)? {
            // One that cannot be read or understood has no entry of ours, because none could have been written.
            let Ok(before) = files::read(&path, files::CONFIGURATION_LIMIT) else {
                continue;
            };
            if let Ok(Some(after)) = conflist::without(&before) {
                files::replace(&path, after.as_bytes(), 0o600, Some(&before))?;
            }
        }
        let path = self.program_path();
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(InstallError::Write { path, source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn program_path(&self) -> PathBuf {
        self.options.bin_dir.join(PLUGIN)
    }

    fn name(&self, step: &Step) -> String {
        match step {
            Step::Program => format!("the program {}", self.program_path().display()),
            Step::Entry { path, .. } => format!("the entry {PLUGIN} in {}", path.display()),
        }
    }
}

fn print(text: &str) -> Result<(), InstallError> {
    let path = PathBuf::from("standard output");
    let written = io::stdout().write_all(text.as_bytes());
    written.map_err(|source| InstallError::Write { path, source })
}
