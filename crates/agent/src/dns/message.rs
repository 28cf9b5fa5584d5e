//! As much of DNS messages (RFC 1035 section 4.1) as passing them on takes.
//!
//! Pure; whatever the bytes are, nothing is read beyond them.

/// Bytes of the header.
const HEADER: usize = 12;
/// The bit of the third byte that tells an answer from a question.
const IS_ANSWER: u8 = 0x80;
/// Response code of a server that could not find out.
const SERVER_FAILURE: u8 = 2;

/// Whether the message is a question.
pub(super) fn is_question(message: &[u8]) -> bool {
    message.len() >= HEADER && message.get(2).is_some_and(|flags| flags & IS_ANSWER == 0)
}

/// Whether the message is an answer with the question's identifier.
pub(super) fn answers(message: &[u8], question: &[u8]) -> bool {
    message.len() >= HEADER
        && message.get(2).is_some_and(|flags| flags & IS_ANSWER != 0)
        && message.get(..2) == question.get(..2)
}

/// The answer to a question that nobody could answer: its own header and question, with the response code for that.
pub(super) fn server_failure(question: &[u8]) -> Vec<u8> {
    let (asked, count) = match end_of_question(question) {
        Some(end) => (question.get(..end).unwrap_or_default(), 1),
        None => (question.get(..HEADER).unwrap_or_default(), 0),
    };
    let mut answer = asked.to_vec();
    if let Some([_, _, flags, code, counts @ ..]) = answer.first_chunk_mut::<HEADER>() {
        *flags = *flags & 0x79 | IS_ANSWER;
        *code = *code & 0x10 | 0x80 | SERVER_FAILURE;
        *counts = [0, count, 0, 0, 0, 0, 0, 0];
    }
    answer
}

/// Where the first question ends: its labels, a zero, type and class.
fn end_of_question(message: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        match length {
            0 => break,
            // A pointer has nothing before the first question to point to.
            64.. => return None,
            _ => at += length,
        }
    }
    let end = at + 4;
    (end <= message.len()).then_some(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUESTION: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x03web\x04shop\x00\x00\x01\x00\x01\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00";

    #[test]
    fn a_failure_repeats_the_question_and_nothing_else() {
        let expected =
            b"\x12\x34\x81\x82\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x04shop\x00\x00\x01\x00\x01";
        assert_eq!(server_failure(QUESTION), expected);
        assert!(answers(expected, QUESTION));
    }

    #[test]
    fn questions_and_answers_are_told_apart() {
        assert!(is_question(QUESTION));
        assert!(!answers(QUESTION, QUESTION));
        let answer = server_failure(QUESTION);
        assert!(!is_question(&answer));
        assert!(!answers(&answer, b"\x12\x35"));
        assert!(!is_question(&QUESTION[..11]));
    }

    proptest! {
        #[test]
        fn every_question_has_a_failure(bytes in prop::collection::vec(any::<u8>(), HEADER..80)) {
            prop_assume!(is_question(&bytes));
            prop_assert!(answers(&server_failure(&bytes), &bytes));
        }
    }
}
