//! Saying once what is said often.
//!
//! Run over the expressions of a policy before they are printed: what occurs in them more than once becomes a variable of the policy, which the API
//! server computes once, when it is needed.
//! Expressions within comprehensions that depend on an item stay where they are.

use std::{
    collections::{HashMap, HashSet},
    mem,
};

use super::{cel::Expr, facts};

/// A variable of the policy.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: Expr,
}

/// Characters from which on an expression is worth a variable.
const LEAST: usize = 30;

/// Names that are there without a comprehension.
const FREE: [&str; 4] = ["object", "request", "variables", "int"];

#[derive(Default)]
struct Sharing {
    seen: HashSet<String>,
    repeated: HashSet<String>,
    names: HashMap<String, String>,
    n_numbered: usize,
    variables: Vec<Variable>,
}

/// Shares what variables and the last expression have in common; the variables stay in their order.
pub(super) fn share(variables: Vec<(&'static str, Expr)>, last: Expr) -> (Vec<Variable>, Expr) {
    let mut sharing = Sharing::default();
    for (_, value) in &variables {
        sharing.count(value);
    }
    sharing.count(&last);
    for (name, mut value) in variables {
        sharing.replace_within(&mut value);
        sharing.variables.push(Variable {
            name: name.to_owned(),
            value,
        });
    }
    let mut last = last;
    sharing.replace(&mut last);
    (sharing.variables, last)
}

// === impl Sharing ===

impl Sharing {
    /// Notes what occurs again; what is within a repetition is no repetition by itself.
    fn count(&mut self, expr: &Expr) {
        if let Some(text) = worthy(expr)
            && !self.seen.insert(text.clone())
        {
            self.repeated.insert(text);
            return;
        }
        expr.children(&mut |child| self.count(child));
    }

    fn replace(&mut self, expr: &mut Expr) {
        let text = worthy(expr).filter(|text| self.repeated.contains(text));
        let Some(text) = text else {
            self.replace_within(expr);
            return;
        };
        let name = match self.names.get(&text) {
            Some(name) => name.clone(),
            None => {
                let mut value = mem::replace(expr, Expr::Null);
                let name = self.name(&value);
                self.replace_within(&mut value);
                self.variables.push(Variable {
                    name: name.clone(),
                    value,
                });
                self.names.insert(text, name.clone());
                name
            }
        };
        *expr = Expr::Name("variables").field(name);
    }

    fn replace_within(&mut self, expr: &mut Expr) {
        expr.children_mut(&mut |child| self.replace(child));
    }

    /// A name that no other variable has: one that needs itself would be the API server's end.
    fn name(&mut self, value: &Expr) -> String {
        if *value == facts::labels() {
            "labels".to_owned()
        } else if *value == facts::annotations() {
            "annotations".to_owned()
        } else {
            self.n_numbered += 1;
            format!("shared{}", self.n_numbered)
        }
    }
}

/// The text of an expression that may become a variable.
fn worthy(expr: &Expr) -> Option<String> {
    let is_computed = matches!(
        expr,
        Expr::If(_)
            | Expr::Call(Some(_), ..)
            | Expr::At(..)
            | Expr::Binary(..)
            | Expr::Field(_, _, false)
    );
    // The type of what may be missing is no type of a variable.
    let is_macro = matches!(expr, Expr::Call(_, "hasValue", _));
    if !is_computed || is_macro || matches!(expr, Expr::At(_, _, true)) {
        return None;
    }
    let mut is_free = true;
    expr.visit(&mut |part| {
        is_free &= !matches!(part, Expr::Name(name) if !FREE.contains(name));
    });
    let text = is_free.then(|| expr.to_string())?;
    (text.len() >= LEAST).then_some(text)
}
