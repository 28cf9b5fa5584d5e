//! Whose a token is, as the API server says.
//!
//! The [`Authenticator`](super::Authenticator) asks a [`Review`]; in a cluster that is [`TokenReviews`], and tests and benches stand in for
//! it. `judge` is the whole decision: only a token that the API server vouches for, for our audience, of a service account, makes a caller.

use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture};
use k8s_openapi::api::authentication::v1::{
    TokenReview, TokenReviewSpec, TokenReviewStatus, UserInfo,
};
use kube::{Api, Client, api::PostParams};
use runtime::error::chain;

use super::{Caller, Pod, Refusal, TOKEN_AUDIENCE};
use crate::cluster::api::call;

/// First part of a service account's user name, before namespace and name.
const USER_PREFIX: &str = "system:serviceaccount:";
/// The group that every service account is in.
const GROUP: &str = "system:serviceaccounts";
/// Where the API server tells the pod that a token is bound to.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
/// Where it tells that pod's uid.
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
/// How much of what the API server says is passed on.
const MAX_REASON: usize = 300;

/// Says whose a token is.
pub trait Review: Send + Sync {
    /// Reviews `token`. The future may be dropped at any time, and must not hold any part of the token in its errors.
    fn review(&self, token: &str) -> BoxFuture<'static, Result<Caller, Refusal>>;
}

/// Reviews by the API server: `TokenReview`.
#[derive(Clone)]
pub struct TokenReviews(Api<TokenReview>);

// === impl TokenReviews ===

impl TokenReviews {
    /// Reviews by the API server that `client` reaches.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self(Api::all(client))
    }
}

impl Review for TokenReviews {
    fn review(&self, token: &str) -> BoxFuture<'static, Result<Caller, Refusal>> {
        let api = self.0.clone();
        let review = TokenReview {
            spec: TokenReviewSpec {
                audiences: Some(vec![TOKEN_AUDIENCE.to_owned()]),
                token: Some(token.to_owned()),
            },
            ..TokenReview::default()
        };
        async move {
            let params = PostParams::default();
            let reviewed = call("review a token", api.create(&params, &review)).await;
            match reviewed {
                Ok(TokenReview {
                    status: Some(status),
                    ..
                }) => judge(&status),
                Ok(_) => Err(Refusal::Unavailable {
                    reason: "the API server's answer has no status".into(),
                }),
                Err(error) => Err(Refusal::Unavailable {
                    reason: shortened(&chain(&error).to_string()),
                }),
            }
        }
        .boxed()
    }
}

/// Who the caller is, if the answer leaves no doubt.
fn judge(status: &TokenReviewStatus) -> Result<Caller, Refusal> {
    if status.authenticated != Some(true) {
        let reason = status
            .error
            .as_deref()
            .unwrap_or("it is expired, forged, or its pod is gone");
        return Err(Refusal::Invalid {
            reason: shortened(reason),
        });
    }
    // An API server that knows no audiences names none, and would accept a token that was meant for itself.
    let is_ours = |audiences: &Vec<String>| audiences.iter().any(|name| name == TOKEN_AUDIENCE);
    if !status.audiences.as_ref().is_some_and(is_ours) {
        return Err(Refusal::Audience);
    }
    let nobody = UserInfo::default();
    let user = status.user.as_ref().unwrap_or(&nobody);
    service_account(user).ok_or_else(|| Refusal::NotServiceAccount {
        user: shortened(user.username.as_deref().unwrap_or_default()),
    })
}

fn service_account(user: &UserInfo) -> Option<Caller> {
    let groups = user.groups.as_deref().unwrap_or_default();
    if !groups.iter().any(|group| group == GROUP) {
        return None;
    }
    let name = user.username.as_deref()?.strip_prefix(USER_PREFIX)?;
    let (namespace, account) = name.split_once(':')?;
    if namespace.is_empty() || account.is_empty() || account.contains(':') {
        return None;
    }
    let extra = |key| {
        Some(Arc::<str>::from(
            user.extra.as_ref()?.get(key)?.first()?.as_str(),
        ))
    };
    let pod = extra(POD_NAME)
        .zip(extra(POD_UID))
        .map(|(name, uid)| Pod { name, uid });
    Some(Caller {
        namespace: namespace.into(),
        service_account: account.into(),
        pod,
    })
}

fn shortened(text: &str) -> Arc<str> {
    text.chars().take(MAX_REASON).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn judged(status: Value) -> Result<Caller, Refusal> {
        judge(&serde_json::from_value(status).expect("a status"))
    }

    fn accepted(user: &Value) -> Value {
        json!({"authenticated": true, "audiences": ["istio-ca"], "user": user})
    }

    #[test]
    fn a_pod_is_known_by_its_service_account() {
        let groups = ["system:serviceaccounts", "system:authenticated"];
        let mut user = json!({"username": "system:serviceaccount:shop:web", "groups": groups});
        let mut expected = Caller {
            namespace: "shop".into(),
            service_account: "web".into(),
            pod: None,
        };
        assert_eq!(judged(accepted(&user)).as_ref(), Ok(&expected));
        assert_eq!(expected.to_string(), "shop/web");
        user["extra"] = json!({POD_NAME: ["web-0"], POD_UID: ["u1"], "other": ["x"]});
        expected.pod = Some(Pod {
            name: "web-0".into(),
            uid: "u1".into(),
        });
        assert_eq!(judged(accepted(&user)).as_ref(), Ok(&expected));
        assert_eq!(expected.to_string(), "shop/web (pod web-0)");
    }

    #[test]
    fn whoever_is_no_service_account_for_us_is_refused() {
        let user =
            |name: &str, group: &str| accepted(&json!({"username": name, "groups": [group]}));
        let web = "system:serviceaccount:shop:web";
        let stranger = |name: &str| Refusal::NotServiceAccount { user: name.into() };
        let mut for_nobody = user(web, GROUP);
        for_nobody["audiences"] = json!([]);
        let mut for_others = user(web, GROUP);
        for_others["audiences"] = json!(["https://kubernetes.default.svc"]);
        let mut without_audience = user(web, GROUP);
        without_audience
            .as_object_mut()
            .unwrap()
            .remove("audiences");
        let table = [
            (for_nobody, Refusal::Audience),
            (for_others, Refusal::Audience),
            (without_audience, Refusal::Audience),
            (
                user("system:node:one", "system:nodes"),
                stranger("system:node:one"),
            ),
            (user("system:node:one", GROUP), stranger("system:node:one")),
            (
                user("system:anonymous", "system:unauthenticated"),
                stranger("system:anonymous"),
            ),
            (user(web, "system:authenticated"), stranger(web)),
            (accepted(&json!({"username": web})), stranger(web)),
            (accepted(&json!(null)), stranger("")),
            (
                user("system:serviceaccount:shop", GROUP),
                stranger("system:serviceaccount:shop"),
            ),
            (
                user("system:serviceaccount::web", GROUP),
                stranger("system:serviceaccount::web"),
            ),
            (
                user("system:serviceaccount:a:b:c", GROUP),
                stranger("system:serviceaccount:a:b:c"),
            ),
        ];
        for (status, expected) in table {
            assert_eq!(judged(status.clone()), Err(expected), "{status}");
        }
    }

    #[test]
    fn what_the_api_server_refuses_is_refused_with_its_reason() {
        let refused = judged(json!({"authenticated": false, "error": "token has expired"}));
        assert_eq!(
            refused.unwrap_err().to_string(),
            "the API server does not accept the token: token has expired"
        );
        let mute = judged(json!({}));
        assert!(mute.unwrap_err().to_string().contains("expired, forged"));
        let long = judged(json!({"error": "ä".repeat(9000)}));
        assert!(long.unwrap_err().to_string().chars().count() < 400);
    }
}
