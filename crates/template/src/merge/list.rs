//! Lists that merge by key, and the order that comes out.
//!
//! Used by the merge for each list with a merge key: it takes the original's items one by one and puts what is left among the patch's.
//! Everything is linear in the length of both lists.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use super::schema::List;

/// A list that is taken from by merge key. Equal keys (a port for TCP and for UDP) are told apart by how often they occurred.
pub(super) struct Keyed {
    rule: List,
    items: Vec<Option<Value>>,
    by_key: HashMap<String, VecDeque<usize>>,
}

// === impl Keyed ===

impl Keyed {
    pub(super) fn new(list: Vec<Value>, rule: List) -> Self {
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

    pub(super) fn take(&mut self, like: &Value) -> Option<(usize, Value)> {
        let at = self.by_key.get_mut(&self.rule.key(like))?.pop_front()?;
        Some((at, self.items.get_mut(at)?.take()?))
    }

    /// Puts what is left of equal keys right behind the last patch item of that key, so that which of them is the first does not change.
    pub(super) fn with_namesakes(
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

    pub(super) fn delete(&mut self, like: &Value) {
        while self.take(like).is_some() {}
    }

    pub(super) fn clear(&mut self) {
        self.by_key.clear();
        self.items.fill(None);
    }
}

/// Puts what is left of the original among the patch's items: each goes on from the last one's place to before the first item that followed it in the original.
pub(super) fn interleave(patch: Vec<(Option<usize>, Value)>, original: Keyed) -> Vec<Value> {
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
pub(super) fn reorder(list: &mut Vec<Value>, order: &[Value], rule: List) {
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
