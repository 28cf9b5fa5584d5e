//! The helpers that template authors know from sprig.
//! This module is their table; the functions are in one module per kind of value.
//! Names, order of arguments and results are sprig's, except for what [`super`] lists.

use super::{Arity, Function};

mod dict;
mod list;
mod logic;
mod number;
mod text;

pub(super) use text::{contains, lower};

pub(super) const FUNCTIONS: &[Function] = &[
    // Texts.
    Function::new("atoi", Arity::exactly(1), number::atoi),
    Function::new("b64dec", Arity::exactly(1), text::b64dec),
    Function::new("b64enc", Arity::exactly(1), text::b64enc),
    Function::new("cat", Arity::at_least(0), text::cat),
    Function::new("contains", Arity::exactly(2), text::contains),
    Function::new("hasPrefix", Arity::exactly(2), text::has_prefix),
    Function::new("hasSuffix", Arity::exactly(2), text::has_suffix),
    Function::new("join", Arity::exactly(2), text::join),
    Function::new("lower", Arity::exactly(1), text::lower),
    Function::new("nindent", Arity::exactly(2), text::nindent),
    Function::new("nospace", Arity::exactly(1), text::nospace),
    Function::new("quote", Arity::at_least(0), text::quote),
    Function::new("repeat", Arity::exactly(2), text::repeat),
    Function::new("replace", Arity::exactly(3), text::replace),
    Function::new("split", Arity::exactly(2), text::split),
    Function::new("splitList", Arity::exactly(2), text::split_list),
    Function::new("squote", Arity::at_least(0), text::squote),
    Function::new("substr", Arity::exactly(3), text::substr),
    Function::new("title", Arity::exactly(1), text::title),
    Function::new("toString", Arity::exactly(1), text::to_string),
    Function::new("toStrings", Arity::exactly(1), text::to_strings),
    Function::new("trim", Arity::exactly(1), text::trim),
    Function::new("trimAll", Arity::exactly(2), text::trim_all),
    Function::new("trimPrefix", Arity::exactly(2), text::trim_prefix),
    Function::new("trimSuffix", Arity::exactly(2), text::trim_suffix),
    Function::new("trunc", Arity::exactly(2), text::trunc),
    Function::new("untitle", Arity::exactly(1), text::untitle),
    Function::new("upper", Arity::exactly(1), text::upper),
    // Numbers.
    Function::new("add", Arity::at_least(0), number::add),
    Function::new("add1", Arity::exactly(1), number::add1),
    Function::new("ceil", Arity::exactly(1), number::ceil),
    Function::new("div", Arity::exactly(2), number::div),
    Function::new("float64", Arity::exactly(1), number::float64),
    Function::new("floor", Arity::exactly(1), number::floor),
    Function::new("int", Arity::exactly(1), number::int),
    Function::new("int64", Arity::exactly(1), number::int),
    Function::new("max", Arity::at_least(1), number::max),
    Function::new("min", Arity::at_least(1), number::min),
    Function::new("mod", Arity::exactly(2), number::modulo),
    Function::new("mul", Arity::at_least(1), number::mul),
    Function::new("round", Arity::at_least(2), number::round),
    Function::new("sub", Arity::exactly(2), number::sub),
    Function::new("until", Arity::exactly(1), number::until),
    Function::new("untilStep", Arity::exactly(3), number::until_step),
    // Lists.
    Function::new("append", Arity::exactly(2), list::append),
    Function::new("compact", Arity::exactly(1), list::compact),
    Function::new("concat", Arity::at_least(0), list::concat),
    Function::new("first", Arity::exactly(1), list::first),
    Function::new("has", Arity::exactly(2), list::has),
    Function::new("initial", Arity::exactly(1), list::initial),
    Function::new("last", Arity::exactly(1), list::last),
    Function::new("list", Arity::at_least(0), list::list_of),
    Function::new("prepend", Arity::exactly(2), list::prepend),
    Function::new("rest", Arity::exactly(1), list::rest),
    Function::new("reverse", Arity::exactly(1), list::reverse),
    Function::new("sortAlpha", Arity::exactly(1), list::sort_alpha),
    Function::new("tuple", Arity::at_least(0), list::list_of),
    Function::new("uniq", Arity::exactly(1), list::uniq),
    Function::new("without", Arity::at_least(1), list::without),
    // Maps.
    Function::new("dict", Arity::at_least(0), dict::dict),
    Function::new("get", Arity::exactly(2), dict::get),
    Function::new("hasKey", Arity::exactly(2), dict::has_key),
    Function::new("keys", Arity::at_least(0), dict::keys),
    Function::updating("merge", Arity::at_least(1), dict::merge),
    Function::updating("mergeOverwrite", Arity::at_least(1), dict::merge_overwrite),
    Function::new("omit", Arity::at_least(1), dict::omit),
    Function::new("pick", Arity::at_least(1), dict::pick),
    Function::updating("set", Arity::exactly(3), dict::set),
    Function::updating("unset", Arity::exactly(2), dict::unset),
    Function::new("values", Arity::exactly(1), dict::values),
    // Choices, types and formats.
    Function::new("coalesce", Arity::at_least(0), logic::coalesce),
    Function::new("default", Arity::at_least(1), logic::default),
    Function::new("empty", Arity::exactly(1), logic::empty),
    Function::new("fail", Arity::exactly(1), logic::fail),
    Function::new("fromJson", Arity::exactly(1), logic::from_json),
    Function::new("kindIs", Arity::exactly(2), logic::kind_is),
    Function::new("kindOf", Arity::exactly(1), logic::kind_of),
    Function::new("ternary", Arity::exactly(3), logic::ternary),
    Function::new("toJson", Arity::exactly(1), logic::to_json),
    Function::new("toPrettyJson", Arity::exactly(1), logic::to_pretty_json),
    Function::new("typeOf", Arity::exactly(1), logic::type_of),
];
