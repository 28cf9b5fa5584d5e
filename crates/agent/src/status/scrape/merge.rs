//! Several pages of metrics become one.
//!
//! OpenMetrics pages end with a mark that must be there once, and name counters otherwise than the older text format does: if one of
//! the pages is of the older format, all of them become it. Nothing of a page is understood beyond that, so that what an application
//! invents arrives as it is.

use std::collections::BTreeSet;

/// A page of metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its form.
    pub form: Form,
    /// Its text, which may be anything.
    pub text: Vec<u8>,
}

/// The form of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// Ends an OpenMetrics page.
const END: &[u8] = b"# EOF";

// === impl Form ===

impl Form {
    /// The form that a `Content-Type` means.
    #[must_use]
    pub fn of(content_type: &[u8]) -> Self {
        let openmetrics = b"application/openmetrics-text";
        let begin = content_type.get(..openmetrics.len());
        if begin.is_some_and(|begin| begin.eq_ignore_ascii_case(openmetrics)) {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }
}

/// All `pages` as one, in their order.
#[must_use]
pub fn merge(pages: &[Page]) -> Page {
    let form = if pages.iter().all(|page| page.form == Form::OpenMetrics) {
        Form::OpenMetrics
    } else {
        Form::Text
    };
    let mut text = Vec::with_capacity(pages.iter().map(|page| page.text.len() + 1).sum());
    for page in pages {
        let is_old = form == Form::Text && page.form == Form::OpenMetrics;
        let counters = if is_old {
            counters(&page.text)
        } else {
            BTreeSet::new()
        };
        for line in lines(&page.text) {
            append(&mut text, line, &counters);
        }
    }
    if form == Form::OpenMetrics {
        text.extend_from_slice(END);
        text.push(b'\n');
    }
    Page { form, text }
}

/// The page's lines up to its end mark.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .take_while(|line| *line != END)
        .filter(|line| !line.is_empty())
}

/// Names of OpenMetrics' counters, whose samples end with `_total` and whose description does not.
fn counters(text: &[u8]) -> BTreeSet<&[u8]> {
    let types = lines(text).filter_map(|line| line.strip_prefix(b"# TYPE "));
    types
        .filter_map(|line| line.strip_suffix(b" counter"))
        .collect()
}

fn append(text: &mut Vec<u8>, line: &[u8], counters: &BTreeSet<&[u8]>) {
    let described = [&b"# TYPE "[..], b"# HELP "].into_iter().find_map(|begin| {
        let rest = line.strip_prefix(begin)?;
        let end = memchr::memchr(b' ', rest)?;
        let (name, rest) = rest.split_at_checked(end)?;
        counters.contains(name).then_some((begin, name, rest))
    });
    match described {
        Some((begin, name, rest)) => {
            for part in [begin, name, b"_total", rest] {
                text.extend_from_slice(part);
            }
        }
        None => text.extend_from_slice(line),
    }
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: &str =
        "# HELP a Of ours.\n# TYPE a counter\na_total 1\n# TYPE b gauge\nb 2\n# EOF\n";

    fn page(form: Form, text: &str) -> Page {
        Page {
            form,
            text: text.as_bytes().to_vec(),
        }
    }

    fn merged(application: Page) -> (Form, String) {
        let merged = merge(&[page(Form::OpenMetrics, OWN), application]);
        (merged.form, String::from_utf8(merged.text).unwrap())
    }

    #[test]
    fn pages_of_one_form_end_once() {
        let (form, text) = merged(page(Form::OpenMetrics, "c 3\n# EOF\nafter the end\n"));
        assert_eq!(form, Form::OpenMetrics);
        assert_eq!(
            text,
            format!("{}c 3\n# EOF\n", OWN.strip_suffix("# EOF\n").unwrap())
        );
        assert_eq!(
            merge(&[page(Form::OpenMetrics, OWN)]),
            page(Form::OpenMetrics, OWN)
        );
    }

    #[test]
    fn one_page_of_the_old_form_makes_all_of_them_old() {
        let (form, text) = merged(page(Form::Text, "# TYPE c counter\r\nc 3"));
        assert_eq!(form, Form::Text);
        assert_eq!(
            text,
            "# HELP a_total Of ours.\n# TYPE a_total counter\na_total 1\n# TYPE b gauge\nb 2\n# TYPE c counter\nc 3\n"
        );
    }

    #[test]
    fn the_content_type_tells_the_form() {
        for (content_type, form) in [
            (
                "application/openmetrics-text; version=1.0.0",
                Form::OpenMetrics,
            ),
            ("Application/OpenMetrics-Text", Form::OpenMetrics),
            ("text/plain; version=0.0.4", Form::Text),
            ("", Form::Text),
        ] {
            assert_eq!(Form::of(content_type.as_bytes()), form, "{content_type}");
        }
    }

    proptest! {
        #[test]
        fn any_page_is_survived(text in prop::collection::vec(any::<u8>(), 0..200), is_open in any::<bool>()) {
            let form = if is_open { Form::OpenMetrics } else { Form::Text };
            let own = page(Form::OpenMetrics, OWN);
            let merged = merge(&[own, Page { form, text }]);
            let ends = merged.text.ends_with(b"# EOF\n");
            prop_assert_eq!(ends, is_open);
        }
    }
}
