//! An admission webhook as other projects have them: it knows nothing of the mesh and adds a container of its own.
//!
//! The container serves HTTP with this program and has a probe, which a mesh must see although it comes after the sidecar.

use std::{convert::Infallible, path::PathBuf, sync::Arc};

use anyhow::Context;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use e2e::other_webhook::{CONTAINER, PORT};
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::serve::{accept, listen, say};

/// Flags of `test-server webhook`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Port of HTTPS.
    #[arg(long, env = "TEST_HTTPS", default_value_t = 8443, value_name = "PORT")]
    https: u16,
    /// PEM file with the certificate.
    #[arg(long, env = "TEST_CERT_FILE", value_name = "FILE")]
    cert_file: PathBuf,
    /// PEM file with its private key.
    #[arg(long, env = "TEST_KEY_FILE", value_name = "FILE")]
    key_file: PathBuf,
    /// Image of the container that pods get: this program's.
    #[arg(long, env = "TEST_IMAGE", value_name = "IMAGE")]
    image: String,
}

/// Larger than any pod of the tests.
const MAX_REVIEW: usize = 1 << 20;

/// Serves until the future is dropped.
///
/// # Errors
/// The certificate cannot be served, or the port cannot be opened.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let acceptor = acceptor(&args)?;
    let listener = listen(args.https).await?;
    let image: Arc<str> = args.image.into();
    say(format_args!("serving HTTPS on port {}", args.https));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (stream, _) = accept(&listener) => {
                connections.spawn(serve(acceptor.clone(), stream, Arc::clone(&image)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

fn acceptor(args: &Args) -> anyhow::Result<TlsAcceptor> {
    let read = |path: &PathBuf| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let certificate = CertificateDer::from_pem_slice(&read(&args.cert_file)?)
        .context("the certificate is not PEM")?;
    let key =
        PrivateKeyDer::from_pem_slice(&read(&args.key_file)?).context("the key is not PEM")?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, image: Arc<str>) {
    let service = service_fn(|request| answer(request, &image));
    let result = async {
        let stream = TokioIo::new(acceptor.accept(stream).await?);
        http1::Builder::new()
            .serve_connection(stream, service)
            .await?;
        anyhow::Ok(())
    };
    if let Err(error) = result.await {
        eprintln!("connection: {error:#}");
    }
}

async fn answer(
    request: Request<Incoming>,
    image: &str,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = Limited::new(request.into_body(), MAX_REVIEW)
        .collect()
        .await;
    let review = body
        .ok()
        .and_then(|body| serde_json::from_slice::<Value>(&body.to_bytes()).ok());
    let mut response = Response::new(Full::default());
    match review {
        Some(review) => {
            *response.body_mut() = Full::from(decide(&review, image).to_string());
            let json = http::HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
        }
        None => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    Ok(response)
}

/// The review's answer: the container is added where it is not there yet.
fn decide(review: &Value, image: &str) -> Value {
    let request = &review["request"];
    let containers = request["object"]["spec"]["containers"].as_array();
    let has_it = containers
        .into_iter()
        .flatten()
        .any(|container| container["name"] == CONTAINER);
    let mut response = json!({"uid": request["uid"], "allowed": true});
    if !has_it {
        let patch = json!([{"op": "add", "path": "/spec/containers/-", "value": container(image)}]);
        response["patchType"] = "JSONPatch".into();
        response["patch"] = STANDARD.encode(patch.to_string()).into();
    }
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": response,
    })
}

fn container(image: &str) -> Value {
    json!({
        "name": CONTAINER,
        "image": image,
        "args": ["serve", "--http", PORT.to_string(), "--tcp", "0"],
        "ports": [{"name": "http-late", "containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/late", "port": "http-late"}, "periodSeconds": 1},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_is_added_once() {
        let mut review =
            json!({"request": {"uid": "1", "object": {"spec": {"containers": [{"name": "a"}]}}}});
        let answer = decide(&review, "image");
        assert_eq!(answer["response"]["uid"], "1");
        assert!(answer["response"]["patch"].is_string());
        review["request"]["object"]["spec"]["containers"] = json!([container("image")]);
        assert!(decide(&review, "image")["response"]["patch"].is_null());
    }
}
