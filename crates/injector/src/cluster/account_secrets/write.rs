//! Writing the Secret of one service account.
//!
//! Started by the keeper for each account that needs it. What is there is looked at first, so that nobody else's Secret is written over, and written under its
//! version, so that of two writers one is refused.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::PostParams};
use runtime::error::chain;
use time::OffsetDateTime;

use super::secret::{Account, Held, Wanted, account_of, fresh};
use crate::{
    ca::Issuer,
    cluster::{
        Context,
        api::{ApiError, Kind, call},
    },
};

/// What became of an account.
pub(super) struct Write {
    pub(super) key: Box<str>,
    pub(super) outcome: Outcome,
}

/// How a write ended.
pub(super) enum Outcome {
    /// The account has this now.
    Written(Held),
    /// Somebody else wrote at the same time, or the account or its namespace is going.
    Again,
    /// Somebody else has made a Secret of this name.
    Foreign(String),
    /// It is not written.
    Failed(ApiError),
    /// It is not signed.
    Unsigned(String),
    /// Another replica leads.
    Dropped,
}

/// Gives `account` a new certificate.
pub(super) async fn write(
    context: Context,
    account: Account,
    wanted: Wanted,
    issuer: Arc<Issuer>,
    now: OffsetDateTime,
) -> Outcome {
    let Some(name) = account.secret() else {
        return Outcome::Again;
    };
    let api = Api::<Secret>::namespaced(context.client.clone(), &account.namespace);
    let object = format!("Secret {}/{name}", account.namespace);
    let there = match call(format!("get {object}"), api.get_opt(&name)).await {
        Ok(there) => there,
        Err(error) => return Outcome::Failed(error),
    };
    let is_ours = |secret: &Secret| account_of(secret) == Some(&*account.name);
    if there.as_ref().is_some_and(|secret| !is_ours(secret)) {
        return Outcome::Foreign(format!("{}/{name}", account.namespace));
    }
    let is_new = there.is_none();
    let mut secret = there.unwrap_or_else(|| fresh(&account, name.clone()));
    let made = tokio::task::spawn_blocking(move || {
        let signer = (&issuer.authority, &*issuer.roots);
        let put = wanted.put_into(&mut secret, &account, signer, now);
        put.map(|()| secret)
    });
    let secret = match made.await {
        Ok(Ok(secret)) => secret,
        Ok(Err(error)) => return Outcome::Unsigned(chain(&error).to_string()),
        Err(_) => return Outcome::Unsigned("signing was interrupted".to_owned()),
    };
    let params = PostParams::default();
    let written = if is_new {
        call(format!("create {object}"), api.create(&params, &secret)).await
    } else {
        let request = api.replace(&name, &params, &secret);
        call(format!("update {object}"), request).await
    };
    match written {
        Ok(secret) => match Held::of(&secret) {
            Some((_, held)) => Outcome::Written(held),
            None => Outcome::Again,
        },
        Err(error) if error.is_terminating() => Outcome::Again,
        Err(error) => match error.kind() {
            Kind::NotFound | Kind::Conflict => Outcome::Again,
            _ => Outcome::Failed(error),
        },
    }
}
