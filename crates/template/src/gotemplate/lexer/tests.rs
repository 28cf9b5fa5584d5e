use proptest::prelude::*;

use super::*;

fn kinds(text: &str) -> Vec<TokenKind> {
    let tokens = tokenize(text, Delimiters::CURLY);
    tokens.into_iter().map(|token| token.kind).collect()
}

#[test]
fn an_action_is_cut_into_its_words() {
    assert_eq!(
        kinds("a{{ $x := .y | f 1 }}b"),
        [
            TokenKind::Text,
            TokenKind::LeftDelimiter,
            TokenKind::Space,
            TokenKind::Variable,
            TokenKind::Space,
            TokenKind::Declare,
            TokenKind::Space,
            TokenKind::Field,
            TokenKind::Space,
            TokenKind::Pipe,
            TokenKind::Space,
            TokenKind::Identifier,
            TokenKind::Space,
            TokenKind::Number,
            TokenKind::Space,
            TokenKind::RightDelimiter,
            TokenKind::Text,
            TokenKind::End,
        ]
    );
}

#[test]
fn what_cannot_be_read_is_the_last_token() {
    assert_eq!(
        kinds("{{ ? \u{1} }} x").last(),
        Some(&TokenKind::Error(ParseReason::UnrecognizedCharacter(
            '\u{1}'
        )))
    );
    assert_eq!(
        kinds("{{ \"x").last(),
        Some(&TokenKind::Error(ParseReason::Unterminated(
            "quoted string"
        )))
    );
}

proptest! {
    /// Text that is rich in what means something to the lexer.
    #[test]
    fn spans_are_in_order_and_inside_of_the_text(
        text in "(\\{\\{|\\}\\}|-| |\\n|/\\*|\\*/|\"|'|`|\\$|\\.|[(){}|:=,a-z0-9+é\\\\])*"
    ) {
        let mut previous = 0;
        for token in tokenize(&text, Delimiters::CURLY) {
            prop_assert!(token.span.start <= token.span.end);
            prop_assert!(text.get(token.span.clone()).is_some(), "{:?}", token);
            prop_assert!(token.span.start >= previous || matches!(token.kind, TokenKind::Error(_)));
            previous = token.span.end;
        }
    }

    #[test]
    fn every_text_has_an_end(text in ".*") {
        let tokens = tokenize(&text, Delimiters::SQUARE);
        let last = tokens.last().map(|token| &token.kind);
        prop_assert!(matches!(last, Some(TokenKind::End | TokenKind::Error(_))));
    }
}
