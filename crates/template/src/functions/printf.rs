//! `printf`, with Go's verbs, flags and complaints.
//! Templates call it through the table of Go's functions; `quote` and others print values without it.
//! A wrong verb or number of operands is no error: it shows in the text, as in Go.

mod operand;

use operand::print_operand;

use super::arguments::{Given, any, from, text};
use crate::gotemplate::limits::{Buffer, Limit};
use crate::gotemplate::{Value, print};

struct Printer<'f, 'a> {
    rest: &'f str,
    operands: &'f [Value<'a>],
    /// The operand that the next verb prints.
    next: usize,
    /// Whether an explicit index such as `[1]` was used: then operands may be left over.
    reordered: bool,
    buffer: Buffer,
}

/// What stands between `%` and the verb.
#[expect(
    clippy::struct_excessive_bools,
    reason = "Go's flags, each of which is set or not"
)]
#[derive(Clone, Copy, Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

type Printed = Result<(), Limit>;

/// Widths and precisions that Go does not honour either.
const MAX_WIDTH: usize = 1_000_000;

// === impl Printer ===

impl Printer<'_, '_> {
    fn run(&mut self) -> Printed {
        while let Some((before, after)) = self.rest.split_once('%') {
            self.buffer.push(before)?;
            self.rest = after;
            self.directive()?;
        }
        self.buffer.push(self.rest)?;
        if self.reordered || self.next >= self.operands.len() {
            return Ok(());
        }
        self.buffer.push("%!(EXTRA ")?;
        for (index, operand) in from(self.operands, self.next).iter().enumerate() {
            if index > 0 {
                self.buffer.push(", ")?;
            }
            if operand.is_nil() {
                self.buffer.push("<nil>")?;
                continue;
            }
            self.buffer.push(operand.type_name())?;
            self.buffer.push("=")?;
            print::print(&mut self.buffer, operand)?;
        }
        self.buffer.push(")")
    }

    /// One directive whose `%` is past.
    fn directive(&mut self) -> Printed {
        let mut spec = self.flags();
        let mut good_index = self.index();
        spec.width = self.size(&mut spec, true)?;
        if self.eat('.') {
            good_index &= self.index();
            spec.precision = Some(self.size(&mut spec, false)?.unwrap_or(0));
        }
        good_index &= self.index();
        let mut letters = self.rest.chars();
        let Some(verb) = letters.next() else {
            return self.buffer.push("%!(NOVERB)");
        };
        self.rest = letters.as_str();
        if verb == '%' {
            return self.buffer.push("%");
        }
        if !good_index {
            return self.buffer.push_fmt(format_args!("%!{verb}(BADINDEX)"));
        }
        if self.next >= self.operands.len() {
            return self.buffer.push_fmt(format_args!("%!{verb}(MISSING)"));
        }
        let operands = self.operands;
        let operand = any(operands, self.next);
        self.next += 1;
        // Under this verb a plus asks for field names, which no value here has, and not for a sign.
        spec.plus &= verb != 'v';
        print_operand(&mut self.buffer, spec, verb, operand)
    }

    fn flags(&mut self) -> Spec {
        let mut spec = Spec::default();
        loop {
            match self.rest.chars().next() {
                Some('-') => spec.minus = true,
                Some('+') => spec.plus = true,
                Some('#') => spec.sharp = true,
                Some(' ') => spec.space = true,
                Some('0') => spec.zero = true,
                _ => return spec,
            }
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
    }

    /// A width or a precision: digits, or `*` for an operand.
    fn size(&mut self, spec: &mut Spec, is_width: bool) -> Result<Option<usize>, Limit> {
        if self.eat('*') {
            let operands = self.operands;
            let size = match operands.get(self.next) {
                Some(Value::Int(size)) => Some(*size),
                _ => None,
            };
            self.next += 1;
            let sized = size.and_then(|size| usize::try_from(size.unsigned_abs()).ok());
            return match (size, sized.filter(|size| *size <= MAX_WIDTH)) {
                (Some(size), Some(width)) if is_width => {
                    spec.minus |= size < 0;
                    Ok(Some(width))
                }
                (Some(0..), Some(precision)) => Ok(Some(precision)),
                (Some(_), Some(_)) => Ok(None),
                _ => {
                    let complaint = if is_width {
                        "%!(BADWIDTH)"
                    } else {
                        "%!(BADPREC)"
                    };
                    self.buffer.push(complaint)?;
                    Ok(None)
                }
            };
        }
        let digits = self.rest.len()
            - self
                .rest
                .trim_start_matches(|c: char| c.is_ascii_digit())
                .len();
        let (number, rest) = self.rest.split_at_checked(digits).unwrap_or_default();
        let size = number.parse().ok().filter(|size| *size <= MAX_WIDTH);
        if size.is_some() {
            self.rest = rest;
        }
        Ok(size)
    }

    /// An explicit operand index, `[1]`. Whether it is good, or not there.
    fn index(&mut self) -> bool {
        let Some(inside) = self.rest.strip_prefix('[') else {
            return true;
        };
        self.reordered = true;
        let Some((number, rest)) = inside.split_once(']') else {
            self.rest = inside;
            return false;
        };
        self.rest = rest;
        match number.parse::<usize>() {
            Ok(number) if (1..=self.operands.len()).contains(&number) => {
                self.next = number - 1;
                true
            }
            _ => false,
        }
    }

    fn eat(&mut self, letter: char) -> bool {
        let rest = self.rest.strip_prefix(letter);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

/// `printf format operands…`.
pub(super) fn printf<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let format = text(arguments, 0)?;
    let mut printer = Printer {
        rest: &format,
        operands: from(arguments, 1),
        next: 0,
        reordered: false,
        buffer: Buffer::default(),
    };
    printer.run()?;
    Ok(Value::from(printer.buffer.into_string()))
}
