//! The user's objects that say how traffic is to be secured.
//!
//! The chart defines them in the API server, users write them, the injector reads them and writes their status. Names are Istio's.

/// API group of PeerAuthentication.
pub const GROUP: &str = "security.istio.io";
/// The version that the injector reads; objects of [`OLD_VERSION`] are the same object.
pub const VERSION: &str = "v1";
/// The version that came before, which is still served.
pub const OLD_VERSION: &str = "v1beta1";
/// Kind of the object that says who must come by mutual TLS.
pub const PEER_AUTHENTICATION: &str = "PeerAuthentication";
/// As [`PEER_AUTHENTICATION`] in paths and rights.
pub const PEER_AUTHENTICATIONS: &str = "peerauthentications";

/// Condition of an object's status: whether it can work. False names the field and says why, and the object is as if it were not there.
pub const ACCEPTED: &str = "Accepted";
/// Condition of an object's status: whether all that it says is acted on. False names the fields that are not, and says why.
pub const EFFECTIVE: &str = "Effective";
