//! How a table of templates is compared with what it must give.

use template::functions::Functions;
use template::gotemplate::{Delimiters, Template, Value};

/// A template, and its output or the message of its refusal, without the template's name.
pub(crate) type Case = (&'static str, Result<&'static str, &'static str>);

/// Runs every case over the same data.
#[track_caller]
pub(crate) fn check(
    cases: &[Case],
    delimiters: Delimiters<'_>,
    functions: &Functions,
    data: &Value<'_>,
) {
    for (text, expected) in cases {
        let result = match Template::parse("t", text, delimiters, functions) {
            Ok(template) => template.execute(data).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let expected = match expected {
            Ok(text) => Ok((*text).to_owned()),
            Err(message) => Err(format!("template: t:{message}")),
        };
        assert_eq!(result, expected, "{text}");
    }
}
