//! "did you mean": the nearest of the words that exist.

/// The word most like `typo` among `words`, if one is like it enough to be meant.
pub fn nearest<'a>(typo: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    words
        .into_iter()
        .map(|word| (strsim::jaro_winkler(typo, word), word))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_typo_finds_its_word_and_nonsense_finds_none() {
        let words = ["start_command", "stop_command", "dependencies"];
        assert_eq!(nearest("start_comand", words), Some("start_command"));
        assert_eq!(nearest("depends", words), Some("dependencies"));
        assert_eq!(nearest("qqq", words), None);
    }
}
