//! Strategic merge: a partial pod laid over a pod by Kubernetes' rules.
//!
//! Called to lay a rendered template over the pod, and a user's own container over the injected one.
//! Maps merge key by key, lists of known fields item by item by their merge key, other lists are replaced, a null deletes; where Kubernetes'
//! merge leaves two members of a union side by side (two volume sources, two probe handlers), ours keeps the patch's.
//!
//! Order of a merged list: the patch's items in the patch's order; items of the original alone keep theirs, and stand before a patch item only
//! where they stood before it in the original.

mod schema;

use std::collections::{HashMap, VecDeque};

use serde_json::{Map, Value};

use self::schema::{List, Shape};

/// Whether `$patch` and its kin in a patch are orders or ordinary keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directives {
    /// Orders, as in a template that the operator wrote.
    Obey,
    /// Ordinary keys, as in what a pod's author wrote.
    Ignore,
}

/// A patch whose directives are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `$patch` has an unknown value.
    #[error("`$patch` in {field} is {value}, which is none of replace, delete and merge")]
    Directive {
        /// The field that holds the directive.
        field: String,
        /// What it says.
        value: String,
    },
    /// `$retainKeys`, `$setElementOrder/…` or `$deleteFromPrimitiveList/…` is not a list.
    #[error("`{key}` in {field} must be a list")]
    NotAList {
        /// The field that holds the directive.
        field: String,
        /// The directive.
        key: String,
    },
}

/// Lays `patch` over `pod`.
///
/// # Errors
/// When a directive of the patch is malformed; `pod` is then partly merged and of no use.
pub fn pod(pod: &mut Value, patch: Value, directives: Directives) -> Result<(), Error> {
    Merge { directives }.value("the pod", pod, patch, Shape::Pod)
}

/// Lays `patch` over `container`; nothing in it is a directive.
pub(crate) fn container(container: &mut Value, patch: Value) {
    Merge {
        directives: Directives::Ignore,
    }
    .value("the container", container, patch, Shape::Container)
    .expect("only directives can be wrong, and they are ignored");
}

#[derive(Clone, Copy)]
struct Merge {
    directives: Directives,
}

/// Directives of a map that concern its own keys.
const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";

// === impl Merge ===

impl Merge {
    fn value(
        self,
        field: &str,
        original: &mut Value,
        patch: Value,
        shape: Shape,
    ) -> Result<(), Error> {
        match (original, patch) {
            (Value::Object(original), Value::Object(patch)) => {
                self.map(field, original, patch, shape)
            }
            (original, patch) => {
                *original = self.plain(patch).unwrap_or(Value::Null);
                Ok(())
            }
        }
    }

    fn map(
        self,
        field: &str,
        original: &mut Map<String, Value>,
        mut patch: Map<String, Value>,
        shape: Shape,
    ) -> Result<(), Error> {
        match self.order(field, &mut patch)? {
            Order::Merge => {}
            Order::Delete => {
                original.clear();
                return Ok(());
            }
            Order::Replace => {
                original.clear();
                original.extend(patch);
                return Ok(());
            }
        }
        self.retain(field, original, &mut patch)?;
        shape.settle_union(original, &patch);
        let orders = self.take_lists(field, &mut patch, SET_ORDER)?;
        for (key, gone) in self.take_lists(field, &mut patch, DELETE_FROM_LIST)? {
            if let Some(Value::Array(list)) = original.get_mut(&key) {
                list.retain(|item| !gone.contains(item));
            }
        }
        for (key, value) in patch {
            if value.is_null() {
                original.remove(&key);
                continue;
            }
            match original.get_mut(&key) {
                None | Some(Value::Null) => {
                    if let Some(value) = self.plain(value) {
                        original.insert(key, value);
                    }
                }
                Some(Value::Array(list)) => {
                    let rule = shape.list(&key);
                    match value {
                        Value::Array(patch) => {
                            *list = self.list(&key, std::mem::take(list), patch, rule)?
                        }
                        other => self.replace(original, key, other),
                    }
                }
                Some(old @ Value::Object(_)) if value.is_object() => {
                    let emptied = value.get(PATCH).is_some() && self.directives == Directives::Obey;
                    self.value(&key, old, value, shape.field(&key))?;
                    if emptied && old.as_object().is_some_and(Map::is_empty) {
                        original.remove(&key);
                    }
                }
                Some(_) => self.replace(original, key, value),
            }
        }
        for (key, order) in orders {
            if let Some(Value::Array(list)) = original.get_mut(&key) {
                reorder(list, &order, shape.list(&key));
            }
        }
        Ok(())
    }

    fn replace(self, original: &mut Map<String, Value>, key: String, value: Value) {
        match self.plain(value) {
            Some(value) => original.insert(key, value),
            None => original.remove(&key),
        };
    }

    fn list(
        self,
        field: &str,
        original: Vec<Value>,
        patch: Vec<Value>,
        rule: List,
    ) -> Result<Vec<Value>, Error> {
        if rule == List::Replace {
            return Ok(patch
                .into_iter()
                .filter_map(|item| self.plain(item))
                .collect());
        }
        let mut original = Keyed::new(original, rule);
        let mut items = Vec::with_capacity(patch.len());
        for mut item in patch {
            let order = match &mut item {
                Value::Object(map) => self.order(field, map)?,
                _ => Order::Merge,
            };
            match order {
                Order::Merge => items.push(item),
                Order::Delete => original.delete(&item),
                // One such item stands for the whole list and is not part of it.
                Order::Replace => original.clear(),
            }
        }
        let mut merged = Vec::with_capacity(items.len());
        for item in items {
            match original.take(&item) {
                Some((at, mut old)) => {
                    self.value(field, &mut old, item, rule.item())?;
                    merged.push((Some(at), old));
                }
                None => merged.extend(self.plain(item).map(|item| (None, item))),
            }
        }
        Ok(interleave(original.with_namesakes(merged), original))
    }

    /// What `$patch` says, taken out of the map.
    fn order(self, field: &str, patch: &mut Map<String, Value>) -> Result<Order, Error> {
        if self.directives == Directives::Ignore {
            return Ok(Order::Merge);
        }
        match patch.remove(PATCH) {
            None => Ok(Order::Merge),
            Some(Value::String(order)) if order == "merge" => Ok(Order::Merge),
            Some(Value::String(order)) if order == "replace" => Ok(Order::Replace),
            Some(Value::String(order)) if order == "delete" => Ok(Order::Delete),
            Some(other) => Err(Error::Directive {
                field: field.to_owned(),
                value: other.to_string(),
            }),
        }
    }

    fn retain(
        self,
        field: &str,
        original: &mut Map<String, Value>,
        patch: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        if self.directives == Directives::Ignore {
            return Ok(());
        }
        match patch.remove(RETAIN_KEYS) {
            None => Ok(()),
            Some(Value::Array(keys)) => {
                original.retain(|key, _| keys.iter().any(|kept| kept.as_str() == Some(key)));
                Ok(())
            }
            Some(_) => Err(Error::NotAList {
                field: field.to_owned(),
                key: RETAIN_KEYS.to_owned(),
            }),
        }
    }

    /// The lists under keys with `prefix`, by the key that they are about.
    fn take_lists(
        self,
        field: &str,
        patch: &mut Map<String, Value>,
        prefix: &str,
    ) -> Result<Vec<(String, Vec<Value>)>, Error> {
        if self.directives == Directives::Ignore {
            return Ok(Vec::new());
        }
        let keys: Vec<String> = patch
            .keys()
            .filter(|key| key.starts_with(prefix))
            .cloned()
            .collect();
        let mut lists = Vec::with_capacity(keys.len());
        for key in keys {
            match patch.remove(&key) {
                Some(Value::Array(list)) => {
                    lists.push((key.trim_start_matches(prefix).to_owned(), list))
                }
                _ => {
                    return Err(Error::NotAList {
                        field: field.to_owned(),
                        key,
                    });
                }
            }
        }
        Ok(lists)
    }

    /// A value of the patch that has no counterpart: without nulls in maps and without directives; `None` if it was only there to delete.
    fn plain(self, value: Value) -> Option<Value> {
        match value {
            Value::Object(mut map) => {
                if self.directives == Directives::Obey {
                    if map.remove(PATCH).is_some_and(|order| order == "delete") {
                        return None;
                    }
                    map.retain(|key, _| {
                        key != RETAIN_KEYS
                            && !key.starts_with(SET_ORDER)
                            && !key.starts_with(DELETE_FROM_LIST)
                    });
                }
                let entries = map.into_iter().filter(|(_, value)| !value.is_null());
                Some(Value::Object(
                    entries
                        .filter_map(|(key, value)| Some((key, self.plain(value)?)))
                        .collect(),
                ))
            }
            Value::Array(list) => Some(Value::Array(
                list.into_iter()
                    .filter_map(|item| self.plain(item))
                    .collect(),
            )),
            scalar => Some(scalar),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Merge,
    Replace,
    Delete,
}

/// A list that is taken from by merge key. Equal keys (a port for TCP and for UDP) are told apart by how often they occurred.
struct Keyed {
    rule: List,
    items: Vec<Option<Value>>,
    by_key: HashMap<String, VecDeque<usize>>,
}

// === impl Keyed ===

impl Keyed {
    fn new(list: Vec<Value>, rule: List) -> Self {
        let mut by_key: HashMap<String, VecDeque<usize>> = HashMap::with_capacity(list.len());
        for (item_idx, item) in list.iter().enumerate() {
            by_key
                .entry(rule.key(item))
                .or_default()
                .push_back(item_idx);
        }
        Self {
            rule,
            items: list.into_iter().map(Some).collect(),
            by_key,
        }
    }

    fn take(&mut self, like: &Value) -> Option<(usize, Value)> {
        let at = self.by_key.get_mut(&self.rule.key(like))?.pop_front()?;
        Some((at, self.items.get_mut(at)?.take()?))
    }

    /// Puts what is left of equal keys right behind the last patch item of that key, so that which of them is the first does not change.
    fn with_namesakes(
        &mut self,
        merged: Vec<(Option<usize>, Value)>,
    ) -> Vec<(Option<usize>, Value)> {
        let mut reversed = Vec::with_capacity(merged.len());
        for (at, item) in merged.into_iter().rev() {
            let mut namesakes = Vec::new();
            while let Some((_, namesake)) = self.take(&item) {
                namesakes.push((at, namesake));
            }
            reversed.extend(namesakes.into_iter().rev());
            reversed.push((at, item));
        }
        reversed.reverse();
        reversed
    }

    fn delete(&mut self, like: &Value) {
        while self.take(like).is_some() {}
    }

    fn clear(&mut self) {
        self.by_key.clear();
        self.items.fill(None);
    }
}

/// Puts what is left of the original among the patch's items: each goes on from the last one's place to before the first item that followed it in the original.
fn interleave(patch: Vec<(Option<usize>, Value)>, original: Keyed) -> Vec<Value> {
    let mut merged = Vec::with_capacity(patch.len() + original.items.len());
    let mut patch = patch.into_iter().peekable();
    let mut left = original
        .items
        .into_iter()
        .enumerate()
        .filter_map(|(at, item)| Some((at, item?)))
        .peekable();
    while let Some((left_at, _)) = left.peek() {
        match patch.peek() {
            Some((Some(patch_at), _)) if patch_at > left_at => {
                merged.extend(left.next().map(|(_, item)| item))
            }
            Some(_) => merged.extend(patch.next().map(|(_, item)| item)),
            None => merged.extend(left.next().map(|(_, item)| item)),
        }
    }
    merged.extend(patch.map(|(_, item)| item));
    merged
}

/// Sorts a merged list as `$setElementOrder` says; items that it does not name stay behind those that they followed.
fn reorder(list: &mut Vec<Value>, order: &[Value], rule: List) {
    let ranks: HashMap<String, usize> = order
        .iter()
        .enumerate()
        .map(|(rank, item)| (rule.key(item), rank + 1))
        .collect();
    let mut last = 0;
    let mut ranked: Vec<(usize, Value)> = Vec::with_capacity(list.len());
    for item in list.drain(..) {
        last = ranks.get(&rule.key(&item)).copied().unwrap_or(last);
        ranked.push((last, item));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    list.extend(ranked.into_iter().map(|(_, item)| item));
}

#[cfg(test)]
mod tests;
