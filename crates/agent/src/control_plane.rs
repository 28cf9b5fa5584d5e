//! The connection to the control plane, which certificates and discovery come by.
//!
//! Whoever wants something of it has an [`Endpoint`], makes a [`Channel`] by [`Endpoint::connect`], hands that to the generated clients of `wire`
//! and has [`Token::authorize`] tell the server in each call who asks. Nothing is kept between two connections but what files say at
//! that moment: names are resolved, roots and tokens are read anew each time, because all of them change while the proxy runs.
//!
//! ```text
//! Endpoint ─► resolve ─► TCP, each address in turn ─► TLS (roots from a file) ─► HTTP/2 ─► Channel ─► wire's clients
//! ```

mod channel;
mod connect;
mod endpoint;
mod error;
mod resolve;
mod tls;
mod token;

pub use channel::Channel;
pub use endpoint::{AddressError, Endpoint};
pub use error::ConnectError;
pub use resolve::ResolveError;
pub use tls::RootsError;
pub use token::{Token, TokenError};
