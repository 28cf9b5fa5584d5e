//! Strategic merge: a partial pod laid over a pod by Kubernetes' rules.
//!
//! Called to lay a rendered template over the pod, and a user's own container over the injected one.
//! Maps merge key by key, lists of known fields item by item by their merge key, other lists are replaced, a null deletes; where Kubernetes'
//! merge leaves two members of a union side by side (two volume sources, two probe handlers), ours keeps the patch's.
//!
//! Order of a merged list: the patch's items in the patch's order; items of the original alone keep theirs, and stand before a patch item only
//! where they stood before it in the original.

mod list;
mod schema;

use serde_json::{Map, Value};

use self::{
    list::{Keyed, interleave, reorder},
    schema::{List, Shape},
};

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
        if !self.may_direct(&patch) {
            shape.settle_union(original, &patch);
            return self.keys(original, patch, shape);
        }
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
        self.keys(original, patch, shape)?;
        for (key, order) in orders {
            if let Some(Value::Array(list)) = original.get_mut(&key) {
                reorder(list, &order, shape.list(&key));
            }
        }
        Ok(())
    }

    /// Lays a map without directives of its own over another.
    fn keys(
        self,
        original: &mut Map<String, Value>,
        patch: Map<String, Value>,
        shape: Shape,
    ) -> Result<(), Error> {
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
        Ok(())
    }

    /// Whether there may be a directive among the keys of a map: hardly any has one.
    fn may_direct(self, map: &Map<String, Value>) -> bool {
        self.directives == Directives::Obey && map.keys().any(|key| key.starts_with('$'))
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
    fn plain(self, mut value: Value) -> Option<Value> {
        self.clean(&mut value).then_some(value)
    }

    /// Takes nulls and directives out; tells whether anything is to be left.
    fn clean(self, value: &mut Value) -> bool {
        match value {
            Value::Object(map) => {
                if self.may_direct(map) {
                    if map.remove(PATCH).is_some_and(|order| order == "delete") {
                        return false;
                    }
                    map.retain(|key, _| !is_directive(key));
                }
                let mut has_nulls = false;
                for value in map.values_mut() {
                    if !self.clean(value) {
                        *value = Value::Null;
                    }
                    has_nulls |= value.is_null();
                }
                if has_nulls {
                    map.retain(|_, value| !value.is_null());
                }
            }
            Value::Array(list) => {
                // Such an item is about the list, and there is none to replace.
                let is_order =
                    |item: &Value| item.get(PATCH).is_some_and(|order| order == "replace");
                let obeys = self.directives == Directives::Obey;
                list.retain_mut(|item| !(obeys && is_order(item)) && self.clean(item));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        true
    }
}

/// Whether a key concerns the keys next to it and is not one of the value.
fn is_directive(key: &str) -> bool {
    key == RETAIN_KEYS || key.starts_with(SET_ORDER) || key.starts_with(DELETE_FROM_LIST)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Merge,
    Replace,
    Delete,
}

#[cfg(test)]
mod tests;
