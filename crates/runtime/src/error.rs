//! How errors are printed.
//!
//! Every log line and every `main` prints errors through [`chain`], so an error type says its own layer in one sentence and
//! leaves its sources to this place. A source that a foreign error has already quoted is not said twice.

use std::{
    error::Error,
    fmt::{self, Display, Formatter},
};

/// Shows `error` with all of its sources, outermost first: `cannot listen on 127.0.0.1:1: permission denied`.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Display + 'a {
    Chain(error)
}

/// Shows `items` a line each.
///
/// # Errors
/// The formatter's.
pub fn lines(items: &[impl Display], f: &mut Formatter<'_>) -> fmt::Result {
    for (idx, item) in items.iter().enumerate() {
        let line_end = if idx == 0 { "" } else { "\n" };
        write!(f, "{line_end}{item}")?;
    }
    Ok(())
}

struct Chain<'a>(&'a (dyn Error + 'static));

// === impl Chain ===

impl Display for Chain<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            let text = error.to_string();
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
            next = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Layer {
        #[error("cannot read the file /x")]
        Plain(#[source] io::Error),
        #[error("cannot read the file /x: {0}")]
        Quoting(#[source] io::Error),
        #[error("cannot start")]
        Outer(#[source] Box<Self>),
    }

    #[test]
    fn sources_follow_their_error() {
        let error = Layer::Outer(Box::new(Layer::Plain(io::Error::other("disk on fire"))));
        assert_eq!(
            chain(&error).to_string(),
            "cannot start: cannot read the file /x: disk on fire"
        );
    }

    #[test]
    fn a_source_that_is_quoted_already_is_not_repeated() {
        let error = Layer::Quoting(io::Error::other("disk on fire"));
        assert_eq!(
            chain(&error).to_string(),
            "cannot read the file /x: disk on fire"
        );
    }
}
