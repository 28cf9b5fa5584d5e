//! Which cluster is meant: by kubeconfig, or by the pod that we are in.
//!
//! Called by [`crate::connect`] and by the command line, before anything is sent.
//! The order is that of `kubectl`: what was given, then the file in the home folder, then the service account.

use std::{
    env, fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use crate::{
    client,
    error::{ConnectError, Told},
    proxy,
};

/// How to find the cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// The kubeconfig: a file, or a list as in `KUBECONFIG` (`FILE:FILE`), of which the first to set a value wins and some may be absent.
    /// `None` or empty is `~/.kube/config` and, where that does not exist, the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context; `None` or empty is its current one.
    pub context: Option<String>,
    /// How long the API server may take until it begins to answer. A watch is answered at once and lasts as long as it does.
    pub response_timeout: Duration,
}

/// A cluster that was found; nothing was asked of it yet.
#[derive(Clone, Debug)]
pub struct Target {
    config: kube::Config,
    origin: Origin,
    proxy_url: Option<String>,
    response_timeout: Duration,
}

/// What says where the cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A context of a kubeconfig.
    Kubeconfig {
        /// The file, or several as in `KUBECONFIG`.
        path: PathBuf,
        /// The context's name.
        context: String,
    },
    /// The service account of the pod that we are in.
    ServiceAccount,
}

// === impl Options ===

impl Default for Options {
    /// The API server itself gives up on a request after a minute.
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            response_timeout: Duration::from_secs(60),
        }
    }
}

// === impl Target ===

impl Target {
    /// Finds the cluster.
    ///
    /// # Errors
    /// There is none, or what is said about it is wrong: the file, the context, and what to do.
    pub async fn find(options: &Options) -> Result<Self, ConnectError> {
        let given = options.kubeconfig.as_deref();
        if let Some(list) = given.filter(|path| !path.as_os_str().is_empty()) {
            let (kubeconfig, path) = read_all(list)?;
            return Self::of_kubeconfig(kubeconfig, path, options).await;
        }
        let path = home().join(".kube/config");
        if let Some(kubeconfig) = read(&path)? {
            return Self::of_kubeconfig(kubeconfig, path, options).await;
        }
        Self::of_service_account(path, options)
    }

    /// The address of the API server.
    #[must_use]
    pub fn server(&self) -> String {
        self.config.cluster_url.to_string()
    }

    /// The namespace of what names none: the context's or the pod's.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.config.default_namespace
    }

    /// What says where the cluster is.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Makes a client; within a Tokio runtime, on which it lives.
    ///
    /// # Errors
    /// Certificates, credentials or proxy cannot be used.
    pub fn client(&self) -> Result<kube::Client, ConnectError> {
        let proxy = match self.origin {
            Origin::Kubeconfig { .. } => {
                proxy::of(&self.config.cluster_url, self.proxy_url.as_deref())
            }
            Origin::ServiceAccount => None,
        };
        if let Some(proxy) = proxy
            .as_ref()
            .filter(|proxy| proxy.uri().scheme_str() != Some("http"))
        {
            return Err(ConnectError::Proxy {
                origin: self.origin.to_string(),
                proxy: proxy.uri().to_string(),
            });
        }
        client::build(self.config.clone(), proxy.as_ref(), self.response_timeout).map_err(|error| {
            ConnectError::Credentials {
                origin: self.origin.to_string(),
                source: Told::by(&error),
            }
        })
    }

    async fn of_kubeconfig(
        kubeconfig: Kubeconfig,
        path: PathBuf,
        options: &Options,
    ) -> Result<Self, ConnectError> {
        let chosen = options.context.as_deref();
        let chosen = chosen.filter(|name| !name.is_empty());
        let current = kubeconfig.current_context.as_deref();
        let Some(context) = chosen.or(current.filter(|name| !name.is_empty())) else {
            return Err(ConnectError::NoContext {
                known: contexts(&kubeconfig),
                path,
            });
        };
        let context = context.to_owned();
        if !kubeconfig
            .contexts
            .iter()
            .any(|known| known.name == context)
        {
            return Err(ConnectError::UnknownContext {
                known: contexts(&kubeconfig),
                path,
                context,
            });
        }
        let proxy_url = proxy_url(&kubeconfig, &context);
        let chosen = KubeConfigOptions {
            context: Some(context.clone()),
            ..KubeConfigOptions::default()
        };
        let config = match kube::Config::from_custom_kubeconfig(kubeconfig, &chosen).await {
            Ok(config) => config,
            Err(error) => {
                return Err(ConnectError::Kubeconfig {
                    path,
                    source: Told::by(&error),
                });
            }
        };
        let origin = Origin::Kubeconfig { path, context };
        let url = &config.cluster_url;
        if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none() {
            return Err(ConnectError::Server {
                origin: origin.to_string(),
                server: url.to_string(),
            });
        }
        Ok(Self {
            config,
            origin,
            proxy_url,
            response_timeout: options.response_timeout,
        })
    }

    fn of_service_account(tried: PathBuf, options: &Options) -> Result<Self, ConnectError> {
        use kube::config::InClusterError;
        let config = match kube::Config::incluster_env() {
            Ok(config) => config,
            Err(InClusterError::ReadEnvironmentVariable(env::VarError::NotPresent)) => {
                return Err(ConnectError::NoCluster { tried });
            }
            Err(error) => {
                return Err(ConnectError::ServiceAccount {
                    source: Told::by(&error),
                });
            }
        };
        Ok(Self {
            config,
            origin: Origin::ServiceAccount,
            proxy_url: None,
            response_timeout: options.response_timeout,
        })
    }
}

// === impl Origin ===

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubeconfig { path, context } => {
                write!(f, "context {context} of {}", path.display())
            }
            Self::ServiceAccount => f.write_str("the pod's service account"),
        }
    }
}

/// Where `kubectl` looks too: what `HOME` says, and nothing else. The standard library would ask libc's user database as well, which a static
/// program cannot.
#[expect(
    clippy::disallowed_methods,
    reason = "HOME is no setting of a program, and without flags there is nothing else to go by"
)]
fn home() -> PathBuf {
    let home = env::var_os("HOME").map(PathBuf::from);
    home.filter(|home| home.is_absolute())
        .unwrap_or_else(|| "/".into())
}

/// Reads a list of files as `kubectl` does: those that do not exist are passed over, as long as there is one. Gives back what was read.
fn read_all(list: &Path) -> Result<(Kubeconfig, PathBuf), ConnectError> {
    let mut merged: Option<Kubeconfig> = None;
    let mut used = Vec::new();
    for path in env::split_paths(list).filter(|path| !path.as_os_str().is_empty()) {
        let Some(next) = read(&path)? else { continue };
        used.push(path);
        merged = Some(match merged {
            None => next,
            Some(before) => before
                .merge(next)
                .map_err(|error| ConnectError::Kubeconfig {
                    path: list.to_owned(),
                    source: Told::by(&error),
                })?,
        });
    }
    match merged {
        Some(kubeconfig) => Ok((kubeconfig, joined(&used, list))),
        None => Err(ConnectError::ReadKubeconfig {
            path: list.to_owned(),
            source: io::ErrorKind::NotFound.into(),
        }),
    }
}

fn joined(used: &[PathBuf], list: &Path) -> PathBuf {
    env::join_paths(used).map_or_else(|_| list.to_owned(), PathBuf::from)
}

/// Reads one file; `None` if it does not exist.
fn read(path: &Path) -> Result<Option<Kubeconfig>, ConnectError> {
    let path = path.to_owned();
    match Kubeconfig::read_from(&path) {
        Ok(kubeconfig) => Ok(Some(kubeconfig)),
        Err(KubeconfigError::ReadConfig(error, _)) if error.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(KubeconfigError::ReadConfig(source, _)) => {
            Err(ConnectError::ReadKubeconfig { path, source })
        }
        Err(error) => Err(ConnectError::Kubeconfig {
            path,
            source: Told::by(&error),
        }),
    }
}

fn contexts(kubeconfig: &Kubeconfig) -> String {
    let names: Vec<_> = kubeconfig
        .contexts
        .iter()
        .map(|context| context.name.as_str())
        .collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// The context's own proxy, as it stands in the file. The library's configuration mixes it with the environment's and knows no exceptions.
fn proxy_url(kubeconfig: &Kubeconfig, context: &str) -> Option<String> {
    let named = kubeconfig.contexts.iter();
    let context = named
        .filter(|known| known.name == context)
        .find_map(|known| known.context.as_ref())?;
    let named = kubeconfig.clusters.iter();
    let cluster = named
        .filter(|known| known.name == context.cluster)
        .find_map(|known| known.cluster.as_ref())?;
    cluster.proxy_url.clone()
}
