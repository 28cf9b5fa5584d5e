//! Reading our table back: one question each for the generation, the table, its chains, sets,
//! elements and rules.
//!
//! Called by [`NfTables::read`](super::NfTables::read). Every answer carries the generation that it
//! is from, so a mixture of two states is noticed and is not a ruleset; what belongs to other
//! tables is passed over.

use contract::chains;
use nix::errno::Errno;

use super::{
    Generation,
    expression::Expression,
    ruleset::{Base, Chain, Element, Ruleset, Set},
    uapi::{self, message},
};
use crate::netlink::{Attribute, Malformed, Message, NetlinkError, Packet, Socket, flags};

/// The generation that the rules are in now.
pub(super) fn generation(socket: &mut Socket) -> Result<Generation, NetlinkError> {
    let mut packet = Packet::default();
    let request = packet.message(
        message::GET_GENERATION,
        flags::ACKNOWLEDGE,
        &[0; uapi::HEADER],
        |_| {},
    );
    let mut generation = Generation(0);
    socket.ask(&packet, request, |answer| {
        if answer.kind == message::NEW_GENERATION {
            for attribute in answer.attributes(uapi::HEADER) {
                let attribute = attribute?;
                if attribute.kind == uapi::GENERATION_ID {
                    generation = Generation(attribute.number()?);
                }
            }
        }
        Ok(())
    })?;
    Ok(generation)
}

/// Our table as it is in this generation, or nothing if there is none.
///
/// Fails as interrupted if the rules are no longer those of this generation.
pub(super) fn ruleset(
    socket: &mut Socket,
    generation: Generation,
) -> Result<Option<Ruleset>, NetlinkError> {
    let mut reader = Reader { socket, generation };
    let mut ruleset = Ruleset::default();
    match reader.table(&mut ruleset) {
        Err(NetlinkError::Refused {
            source: Errno::ENOENT,
            ..
        }) => return Ok(None),
        other => other?,
    }
    reader.chains(&mut ruleset)?;
    reader.sets(&mut ruleset)?;
    for set in &mut ruleset.sets {
        reader.elements(set)?;
        set.elements.sort_unstable();
        drop_empty_interval(&mut set.elements);
    }
    reader.rules(&mut ruleset)?;
    Ok(Some(ruleset))
}

/// Names of all tables of our family. They may be of a newer generation than what was read before;
/// a transaction that names the older one is then refused.
pub(super) fn tables(socket: &mut Socket) -> Result<Vec<String>, NetlinkError> {
    let mut packet = Packet::default();
    let header = [uapi::FAMILY_INET, 0, 0, 0];
    let request = packet.message(message::GET_TABLE, flags::DUMP, &header, |_| {});
    let mut names = Vec::new();
    socket.ask(&packet, request, |answer| {
        if answer.kind == message::NEW_TABLE {
            for attribute in answer.attributes(uapi::HEADER) {
                let attribute = attribute?;
                if attribute.kind == uapi::table::NAME {
                    names.push(attribute.name()?.to_owned());
                }
            }
        }
        Ok(())
    })?;
    Ok(names)
}

/// Asks one question after the other.
struct Reader<'a> {
    socket: &'a mut Socket,
    generation: Generation,
}

// === impl Reader ===

impl Reader<'_> {
    fn table(&mut self, ruleset: &mut Ruleset) -> Result<(), NetlinkError> {
        let request = |packet: &mut Packet| packet.name(uapi::table::NAME, chains::TABLE);
        self.ask(
            message::GET_TABLE,
            flags::ACKNOWLEDGE,
            request,
            message::NEW_TABLE,
            |answer| {
                ruleset.flags = decode_table(answer)?;
                Ok(())
            },
        )
    }

    fn chains(&mut self, ruleset: &mut Ruleset) -> Result<(), NetlinkError> {
        self.ask(
            message::GET_CHAIN,
            flags::DUMP,
            |_| {},
            message::NEW_CHAIN,
            |answer| {
                ruleset.chains.extend(decode_chain(answer)?);
                Ok(())
            },
        )
    }

    fn sets(&mut self, ruleset: &mut Ruleset) -> Result<(), NetlinkError> {
        let request = |packet: &mut Packet| packet.name(uapi::set::TABLE, chains::TABLE);
        self.ask(
            message::GET_SET,
            flags::DUMP,
            request,
            message::NEW_SET,
            |answer| {
                ruleset.sets.extend(decode_set(answer)?);
                Ok(())
            },
        )
    }

    fn elements(&mut self, set: &mut Set) -> Result<(), NetlinkError> {
        let name = set.name.clone();
        let request = |packet: &mut Packet| {
            packet.name(uapi::set::LIST_TABLE, chains::TABLE);
            packet.name(uapi::set::LIST_SET, &name);
        };
        self.ask(
            message::GET_ELEMENTS,
            flags::DUMP,
            request,
            message::NEW_ELEMENTS,
            |answer| decode_elements(answer, &mut set.elements),
        )
    }

    fn rules(&mut self, ruleset: &mut Ruleset) -> Result<(), NetlinkError> {
        let request = |packet: &mut Packet| packet.name(uapi::rule::TABLE, chains::TABLE);
        self.ask(
            message::GET_RULE,
            flags::DUMP,
            request,
            message::NEW_RULE,
            |answer| {
                if let Some((chain, rule)) = decode_rule(answer)?
                    && let Some(chain) = ruleset.chains.iter_mut().find(|known| known.name == chain)
                {
                    chain.rules.push(rule);
                }
                Ok(())
            },
        )
    }

    /// Sends one question and hands over what it is answered with, provided that it is from the
    /// generation at hand.
    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        request: impl FnOnce(&mut Packet),
        answer: u16,
        mut each: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> Result<(), NetlinkError> {
        let mut packet = Packet::default();
        let header = [uapi::FAMILY_INET, 0, 0, 0];
        let last = packet.message(kind, flags, &header, request);
        let [.., g2, g3] = self.generation.0.to_be_bytes();
        let mut is_stale = false;
        self.socket.ask(&packet, last, |message| {
            if message.kind == answer {
                // The lower half of the generation stands where requests name a resource.
                is_stale |= message.payload.get(2..uapi::HEADER) != Some(&[g2, g3]);
                each(message)?;
            }
            Ok(())
        })?;
        if is_stale {
            Err(NetlinkError::Interrupted)
        } else {
            Ok(())
        }
    }
}

/// The flags of the table.
fn decode_table(answer: &Message<'_>) -> Result<u32, Malformed> {
    let mut flags = 0;
    for attribute in answer.attributes(uapi::HEADER) {
        let attribute = attribute?;
        if attribute.kind == uapi::table::FLAGS {
            flags = attribute.number()?;
        }
    }
    Ok(flags)
}

/// A chain without its rules, or nothing if it is of another table.
pub(super) fn decode_chain(answer: &Message<'_>) -> Result<Option<Chain>, Malformed> {
    let (mut table, mut name, mut hook, mut kind, mut policy) =
        ("", "", None, "", uapi::VERDICT_ACCEPT);
    for attribute in answer.attributes(uapi::HEADER) {
        let attribute = attribute?;
        match attribute.kind {
            uapi::chain::TABLE => table = attribute.name()?,
            uapi::chain::NAME => name = attribute.name()?,
            uapi::chain::TYPE => kind = attribute.name()?,
            uapi::chain::POLICY => policy = attribute.number()?,
            uapi::chain::HOOK => hook = Some(decode_hook(&attribute)?),
            _ => {}
        }
    }
    let base = hook.map(|(hook, priority)| Base {
        kind: kind.to_owned(),
        hook,
        priority,
        policy,
    });
    Ok((table == chains::TABLE).then(|| Chain {
        name: name.to_owned(),
        base,
        rules: Vec::new(),
    }))
}

fn decode_hook(attribute: &Attribute<'_>) -> Result<(u32, u32), Malformed> {
    let (mut hook, mut priority) = (u32::MAX, 0);
    for attribute in attribute.nested() {
        let attribute = attribute?;
        match attribute.kind {
            uapi::chain::HOOK_NUMBER => hook = attribute.number()?,
            uapi::chain::HOOK_PRIORITY => priority = attribute.number()?,
            _ => {}
        }
    }
    Ok((hook, priority))
}

/// A set without its elements, or nothing if it is of another table.
pub(super) fn decode_set(answer: &Message<'_>) -> Result<Option<Set>, Malformed> {
    let (mut table, mut name, mut flags, mut key_type, mut key_length) = ("", "", 0, 0, 0);
    for attribute in answer.attributes(uapi::HEADER) {
        let attribute = attribute?;
        match attribute.kind {
            uapi::set::TABLE => table = attribute.name()?,
            uapi::set::NAME => name = attribute.name()?,
            uapi::set::FLAGS => flags = attribute.number()?,
            uapi::set::KEY_TYPE => key_type = attribute.number()?,
            uapi::set::KEY_LENGTH => key_length = attribute.number()?,
            _ => {}
        }
    }
    Ok((table == chains::TABLE).then(|| Set {
        name: name.to_owned(),
        flags,
        key_type,
        key_length,
        elements: Vec::new(),
    }))
}

/// Appends a piece of a set's elements.
pub(super) fn decode_elements(
    answer: &Message<'_>,
    elements: &mut Vec<Element>,
) -> Result<(), Malformed> {
    for attribute in answer.attributes(uapi::HEADER) {
        let attribute = attribute?;
        if attribute.kind == uapi::set::LIST_ELEMENTS {
            for element in attribute.nested() {
                elements.push(decode_element(&element?)?);
            }
        }
    }
    Ok(())
}

/// `nft` puts the end of no interval at the lowest value, before the first one begins; to packets it
/// makes no difference.
fn drop_empty_interval(sorted: &mut Vec<Element>) {
    let is_empty = |first: &Element| first.is_end && first.key.iter().all(|byte| *byte == 0);
    if sorted.first().is_some_and(is_empty) {
        sorted.remove(0);
    }
}

fn decode_element(element: &Attribute<'_>) -> Result<Element, Malformed> {
    let (mut key, mut is_end) = (Vec::new(), false);
    for attribute in element.nested() {
        let attribute = attribute?;
        match attribute.kind {
            uapi::set::ELEMENT_KEY => {
                for value in attribute.nested() {
                    key = value?.value.to_vec();
                }
            }
            uapi::set::ELEMENT_FLAGS => is_end = attribute.number()? & uapi::set::INTERVAL_END != 0,
            _ => {}
        }
    }
    Ok(Element { key, is_end })
}

/// A rule and its chain's name, or nothing if it is of another table.
pub(super) fn decode_rule(
    answer: &Message<'_>,
) -> Result<Option<(String, Vec<Expression>)>, Malformed> {
    let (table, chain, steps) = decode_rule_of(answer)?;
    Ok((table == chains::TABLE).then(|| (chain.to_owned(), steps)))
}

/// A rule of any table: the names of its table and chain, and its steps.
pub(super) fn decode_rule_of<'a>(
    answer: &Message<'a>,
) -> Result<(&'a str, &'a str, Vec<Expression>), Malformed> {
    let (mut table, mut chain, mut steps) = ("", "", Vec::new());
    for attribute in answer.attributes(uapi::HEADER) {
        let attribute = attribute?;
        match attribute.kind {
            uapi::rule::TABLE => table = attribute.name()?,
            uapi::rule::CHAIN => chain = attribute.name()?,
            uapi::rule::EXPRESSIONS => {
                let elements = attribute.nested();
                steps = elements
                    .map(|element| Expression::decode(&element?))
                    .collect::<Result<_, _>>()?;
            }
            _ => {}
        }
    }
    Ok((table, chain, steps))
}
