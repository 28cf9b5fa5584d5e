//! Functions of numbers.
//! Arithmetic is on 64-bit integers and wraps, as Go's does; any value is first made a number, and what cannot be is 0.

use crate::functions::FunctionError;
use crate::functions::arguments::{Given, any, from, integer, new_list, text};
use crate::gotemplate::limits::{Limit, MAX_ITEMS};
use crate::gotemplate::{Value, literal};

pub(super) fn add<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let sum = arguments.iter().map(to_int).fold(0, i64::wrapping_add);
    Ok(Value::Int(sum))
}

pub(super) fn add1<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Ok(Value::Int(to_int(any(arguments, 0)).wrapping_add(1)))
}

pub(super) fn sub<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let (a, b) = pair(arguments);
    Ok(Value::Int(a.wrapping_sub(b)))
}

pub(super) fn mul<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let product = arguments.iter().map(to_int).fold(1, i64::wrapping_mul);
    Ok(Value::Int(product))
}

pub(super) fn div<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let (a, b) = pair(arguments);
    if b == 0 {
        return Err(FunctionError::DivisionByZero);
    }
    Ok(Value::Int(a.wrapping_div(b)))
}

pub(super) fn modulo<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let (a, b) = pair(arguments);
    if b == 0 {
        return Err(FunctionError::DivisionByZero);
    }
    Ok(Value::Int(a.wrapping_rem(b)))
}

pub(super) fn max<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let largest = arguments.iter().map(to_int).max();
    Ok(Value::Int(largest.unwrap_or_default()))
}

pub(super) fn min<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let smallest = arguments.iter().map(to_int).min();
    Ok(Value::Int(smallest.unwrap_or_default()))
}

pub(super) fn floor<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Ok(Value::Float(to_float(any(arguments, 0)).floor()))
}

pub(super) fn ceil<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Ok(Value::Float(to_float(any(arguments, 0)).ceil()))
}

/// `round number places [from]`: up from the given fraction on, by default one half.
pub(super) fn round<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let places = integer(arguments, 1)?.clamp(-400, 400);
    let up_from = from(arguments, 2).first().map_or(0.5, to_float);
    let power = 10_f64.powi(i32::try_from(places).unwrap_or_default());
    let digit = to_float(any(arguments, 0)) * power;
    let rounded = if digit.fract() >= up_from {
        digit.ceil()
    } else {
        digit.floor()
    };
    Ok(Value::Float(rounded / power))
}

pub(super) fn int<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Ok(Value::Int(to_int(any(arguments, 0))))
}

pub(super) fn float64<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Ok(Value::Float(to_float(any(arguments, 0))))
}

/// A decimal integer, or 0.
pub(super) fn atoi<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Ok(Value::Int(text(arguments, 0)?.parse().unwrap_or_default()))
}

pub(super) fn until<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let count = integer(arguments, 0)?;
    steps(0, count, if count < 0 { -1 } else { 1 })
}

/// `untilStep start stop step`.
pub(super) fn until_step<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let (start, stop) = (integer(arguments, 0)?, integer(arguments, 1)?);
    steps(start, stop, integer(arguments, 2)?)
}

/// The integers from `start` towards `stop`, which is left out; none when `step` leads away from it.
fn steps<'a>(start: i64, stop: i64, step: i64) -> Given<'a> {
    let mut items = Vec::new();
    let mut next = Some(start);
    while let Some(item) = next {
        let before_stop = if stop < start {
            step < 0 && item > stop
        } else {
            step > 0 && item < stop
        };
        if !before_stop {
            break;
        }
        if items.len() >= MAX_ITEMS {
            return Err(Limit::Items.into());
        }
        items.push(Value::Int(item));
        next = item.checked_add(step);
    }
    new_list(items)
}

fn pair(arguments: &[Value<'_>]) -> (i64, i64) {
    (to_int(any(arguments, 0)), to_int(any(arguments, 1)))
}

/// The value as an integer: texts in Go's notation with a fraction of zeros at most, fractions cut off, else 0.
#[expect(
    clippy::cast_possible_truncation,
    reason = "cutting off the fraction is the purpose; what is out of range saturates"
)]
fn to_int(value: &Value<'_>) -> i64 {
    match value {
        Value::Int(number) => *number,
        Value::Float(number) | Value::Number(number) => *number as i64,
        Value::Bool(truth) => i64::from(*truth),
        Value::String(text) => literal::integer(without_zero_fraction(text)).unwrap_or_default(),
        Value::Missing
        | Value::Nil
        | Value::Absent
        | Value::List(_)
        | Value::Map(_)
        | Value::Record(_) => 0,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a float64 of an integer is rounded in Go as well"
)]
fn to_float(value: &Value<'_>) -> f64 {
    match value {
        Value::Int(number) => *number as f64,
        Value::Float(number) | Value::Number(number) => *number,
        Value::String(text) => literal::float(text).unwrap_or_default(),
        Value::Bool(truth) => f64::from(u8::from(*truth)),
        Value::Missing
        | Value::Nil
        | Value::Absent
        | Value::List(_)
        | Value::Map(_)
        | Value::Record(_) => 0.0,
    }
}

/// `1` for `1.00`.
fn without_zero_fraction(text: &str) -> &str {
    match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => whole,
        _ => text,
    }
}
