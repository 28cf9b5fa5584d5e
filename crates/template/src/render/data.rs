//! What templates see: `.ObjectMeta`, `.Spec`, `.Values` and the rest, under Istio's names.
//!
//! Made once for each pod by the pipeline; borrows the pod, the values and the mesh's configuration as they are.
//! The names are those of Istio's `SidecarTemplateData`; a template that asks for another one is refused.

use serde_json::{Value as Json, json};

use crate::{config::Compiled, gotemplate::Value, options::Options, owner::Owner, pod};

/// Everything that a template's result depends on.
pub(crate) struct Context<'a> {
    config: &'a Compiled,
    options: &'a Options,
    /// The pod as its author wrote it.
    pub(crate) pod: &'a Json,
    type_meta: Json,
    deployment_meta: Json,
    object_meta: Json,
    spec: Json,
    proxy_config: &'a Json,
    native: bool,
    user: i64,
    group: i64,
}

/// Selects a variant of the proxy's image.
const PROXY_IMAGE_TYPE: &str = "sidecar.istio.io/proxyImageType";

/// Variants that may be part of the configured tag already.
const IMAGE_TYPES: &[&str] = &["distroless", "debug"];

// === impl Context ===

impl<'a> Context<'a> {
    pub(crate) fn new(
        config: &'a Compiled,
        options: &'a Options,
        pod: &'a Json,
        namespace: &str,
        owner: &Owner,
        proxy_config: &'a Json,
        (user, group): (i64, i64),
    ) -> Self {
        let mut object_meta = pod.get("metadata").cloned().unwrap_or_default();
        let fields = pod::as_map(&mut object_meta);
        // It may be most of the pod, and no template has a use for it.
        fields.remove("managedFields");
        if !namespace.is_empty() {
            fields.insert("namespace".to_owned(), Json::from(namespace));
        }
        let spec = pod.get("spec").filter(|spec| spec.is_object());
        Self {
            config,
            options,
            pod,
            type_meta: json!({"apiVersion": owner.api_version, "kind": owner.kind}),
            deployment_meta: json!({
                "name": owner.name,
                "namespace": if owner.namespace.is_empty() { namespace } else { &owner.namespace },
            }),
            object_meta,
            spec: if spec.is_some() {
                Json::Null
            } else {
                json!({})
            },
            proxy_config,
            native: options.native_sidecar_on(pod::text(pod, &["spec", "nodeName"])),
            user,
            group,
        }
    }

    /// The data of the pod, of its owner and, if its author wrote one, of its ProxyConfig.
    pub(crate) fn authored(&self, has_proxy_config: bool) -> impl Iterator<Item = &Json> {
        let config = has_proxy_config.then_some(self.proxy_config);
        let spec = self.pod.get("spec");
        [&self.type_meta, &self.deployment_meta, &self.object_meta]
            .into_iter()
            .chain(spec)
            .chain(config)
    }

    pub(crate) fn data(&self) -> Value<'_> {
        let spec = self
            .pod
            .get("spec")
            .filter(|spec| spec.is_object())
            .unwrap_or(&self.spec);
        let text = |text: &str| Value::from(text.to_owned());
        Value::record(
            "SidecarTemplateData",
            [
                ("TypeMeta", Value::go_struct(&self.type_meta)),
                ("DeploymentMeta", Value::go_struct(&self.deployment_meta)),
                ("ObjectMeta", Value::go_struct(&self.object_meta)),
                ("Spec", Value::go_struct(spec)),
                ("ProxyConfig", Value::go_struct(self.proxy_config)),
                ("MeshConfig", Value::go_struct(&self.config.mesh.fields)),
                ("Values", Value::plain(&self.config.values)),
                ("Revision", text(self.options.shown_revision())),
                ("NativeSidecars", Value::Bool(self.native)),
                ("ProxyImage", text(&self.proxy_image())),
                ("ProxyInitImage", text(&self.init_image())),
                ("ProxyUID", Value::Int(self.user)),
                ("ProxyGID", Value::Int(self.group)),
                (
                    "InboundTrafficPolicyMode",
                    text(self.config.mesh.inbound_traffic_policy()),
                ),
                ("CompliancePolicy", text(&self.options.compliance_policy)),
            ],
        )
    }

    fn proxy_image(&self) -> String {
        let image_type = self
            .proxy_config
            .get("image")
            .and_then(|image| image.get("imageType")?.as_str())
            .unwrap_or_default();
        self.image(&["global", "proxy", "image"], image_type)
    }

    fn init_image(&self) -> String {
        self.image(&["global", "proxy_init", "image"], "")
    }

    /// `HUB/NAME:TAG[-TYPE]`.
    fn image(&self, name: &[&str], image_type: &str) -> String {
        let value = |path: &[&str]| self.config.value_text(path);
        let name = Some(value(name))
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "proxyv2".to_owned());
        let variant = value(&["global", "variant"]);
        let image_type = match pod::annotation(self.pod, PROXY_IMAGE_TYPE) {
            Some(annotated) => annotated,
            None if image_type.is_empty() => &variant,
            None => image_type,
        };
        format!(
            "{}/{name}:{}",
            value(&["global", "hub"]),
            with_type(&value(&["global", "tag"]), image_type)
        )
    }
}

/// The tag with its variant put in the place of another, or left out for the default one.
fn with_type(tag: &str, image_type: &str) -> String {
    if image_type.is_empty() {
        return tag.to_owned();
    }
    let bare = IMAGE_TYPES
        .iter()
        .find_map(|known| tag.strip_suffix(known)?.strip_suffix('-'))
        .unwrap_or(tag);
    match image_type {
        "default" => bare.to_owned(),
        other => format!("{bare}-{other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_takes_one_variant() {
        for (tag, image_type, expected) in [
            ("1.0", "", "1.0"),
            ("1.0", "distroless", "1.0-distroless"),
            ("1.0-distroless", "debug", "1.0-debug"),
            ("1.0-distroless", "default", "1.0"),
            ("1.0-distroless", "", "1.0-distroless"),
            ("1.0-own", "own2", "1.0-own-own2"),
        ] {
            assert_eq!(with_type(tag, image_type), expected);
        }
    }
}
