//! Several pages of metrics become one.
//!
//! OpenMetrics pages end with a mark that must be there once, and name counters otherwise than the older text format does: if one of
//! the pages is of the older format, all of them become it. Nothing of a page is understood beyond that, so that what an application
//! invents arrives as it is. Our own page passes line by line while it is made; those of the application are there as a whole.

use std::{
    collections::BTreeSet,
    fmt,
    io::{self, Write},
    mem,
};

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
const TYPE: &[u8] = b"# TYPE ";
const HELP: &[u8] = b"# HELP ";

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

/// Several pages as one, written one after the other.
pub struct Merged<W> {
    form: Form,
    to: W,
    /// The first error; nothing is written after it.
    written: io::Result<()>,
}

/// A page of ours, as it is being made: of the OpenMetrics format, each description before its type.
pub struct Own<'a, W> {
    merged: &'a mut Merged<W>,
    line: Vec<u8>,
    /// A description whose type comes next.
    described: Vec<u8>,
}

// === impl Merged ===

impl<W: Write> Merged<W> {
    /// A page of the form that `pages` and ours have together.
    pub fn of(pages: &[Page], to: W) -> Self {
        let is_open = pages.iter().all(|page| page.form == Form::OpenMetrics);
        Self {
            form: if is_open {
                Form::OpenMetrics
            } else {
                Form::Text
            },
            to,
            written: Ok(()),
        }
    }

    /// Where our own page is written to, once.
    pub fn own(&mut self) -> Own<'_, W> {
        Own {
            merged: self,
            line: Vec::new(),
            described: Vec::new(),
        }
    }

    /// Appends a page.
    pub fn append(&mut self, page: &Page) {
        let is_old = self.form == Form::Text && page.form == Form::OpenMetrics;
        let counters = if is_old {
            counters(&page.text)
        } else {
            BTreeSet::new()
        };
        for line in lines(&page.text) {
            self.line(line, |name| counters.contains(name));
        }
    }

    /// The form, and what the page was written to.
    ///
    /// # Errors
    /// What it said.
    pub fn finish(mut self) -> io::Result<(Form, W)> {
        if self.form == Form::OpenMetrics {
            self.write(&[END, b"\n"]);
        }
        self.written.map(|()| (self.form, self.to))
    }

    fn line(&mut self, line: &[u8], is_counter: impl Fn(&[u8]) -> bool) {
        match described(line).filter(|(_, name, _)| is_counter(name)) {
            Some((begin, name, rest)) => self.write(&[begin, name, b"_total", rest, b"\n"]),
            None => self.write(&[line, b"\n"]),
        }
    }

    fn write(&mut self, parts: &[&[u8]]) {
        for part in parts {
            if self.written.is_ok() {
                self.written = self.to.write_all(part);
            }
        }
    }
}

// === impl Own ===

impl<W: Write> Own<'_, W> {
    fn end_of_line(&mut self) {
        let line = mem::take(&mut self.line);
        let merged = &mut *self.merged;
        if line.starts_with(HELP) && merged.form == Form::Text {
            self.described = line;
            return;
        }
        let is_counter = merged.form == Form::Text && line.ends_with(b" counter");
        let counter = described(&line).filter(|(begin, ..)| is_counter && *begin == TYPE);
        let counter = counter.map(|(_, name, _)| name.to_vec());
        let is_of_counter = |name: &[u8]| counter.as_deref() == Some(name);
        let description = mem::take(&mut self.described);
        for line in [&description, &line] {
            if !line.is_empty() && line != END {
                merged.line(line, is_of_counter);
            }
        }
        // The room is used again.
        self.line = line;
        self.line.clear();
    }
}

impl<W: Write> fmt::Write for Own<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            self.line.extend_from_slice(line);
            self.end_of_line();
            rest = after.get(1..).unwrap_or_default();
        }
        self.line.extend_from_slice(rest);
        match &self.merged.written {
            Ok(()) => Ok(()),
            Err(_) => Err(fmt::Error),
        }
    }
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
    let types = lines(text).filter_map(|line| line.strip_prefix(TYPE));
    types
        .filter_map(|line| line.strip_suffix(b" counter"))
        .collect()
}

/// What a line describes: how it begins, the name, and what follows.
fn described(line: &[u8]) -> Option<(&'static [u8], &[u8], &[u8])> {
    [TYPE, HELP].into_iter().find_map(|begin| {
        let rest = line.strip_prefix(begin)?;
        let end = memchr::memchr(b' ', rest)?;
        let (name, rest) = rest.split_at_checked(end)?;
        Some((begin, name, rest))
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

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

    fn merge(pages: &[Page]) -> (Form, Vec<u8>) {
        let mut merged = Merged::of(pages, Vec::new());
        pages.iter().for_each(|page| merged.append(page));
        merged.finish().unwrap()
    }

    fn merged(application: Page) -> (Form, String) {
        let (form, text) = merge(&[page(Form::OpenMetrics, OWN), application]);
        (form, String::from_utf8(text).unwrap())
    }

    /// As [`merged`], our own page as it is made, in pieces of `n_bytes`.
    fn merged_meanwhile(application: Page, n_bytes: usize) -> (Form, String) {
        let pages = [application];
        let mut merged = Merged::of(&pages, Vec::new());
        let mut own = merged.own();
        for piece in OWN.as_bytes().chunks(n_bytes) {
            own.write_str(std::str::from_utf8(piece).unwrap()).unwrap();
        }
        let [application] = pages;
        merged.append(&application);
        let (form, text) = merged.finish().unwrap();
        (form, String::from_utf8(text).unwrap())
    }

    #[test]
    fn our_own_page_becomes_the_same_while_it_is_made() {
        for form in [Form::Text, Form::OpenMetrics] {
            for n_bytes in [1, 7, OWN.len()] {
                let application = page(form, "c 3\n");
                let expected = merged(application.clone());
                assert_eq!(
                    merged_meanwhile(application, n_bytes),
                    expected,
                    "{form:?} {n_bytes}"
                );
            }
        }
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
            (Form::OpenMetrics, OWN.as_bytes().to_vec())
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
            let (_, merged) = merge(&[own, Page { form, text }]);
            let ends = merged.ends_with(b"# EOF\n");
            prop_assert_eq!(ends, is_open);
        }
    }
}
