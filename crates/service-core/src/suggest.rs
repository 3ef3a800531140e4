//! "did you mean": the nearest of the words that exist.

use alloc::vec;
use alloc::vec::Vec;

/// The word most like `typo` among `words`, if it is like enough to be meant: at most a third of it is different, or one
/// begins with the other.
pub fn nearest<'a>(typo: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    words
        .into_iter()
        .filter_map(|word| {
            let longest = typo.chars().count().max(word.chars().count());
            let distance = distance(typo, word);
            let begins =
                typo.len() > 2 && word.len() > 2 && (word.starts_with(typo) || typo.starts_with(word));
            (distance * 3 <= longest || begins).then_some((distance, word))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours. The libraries for it need
/// `std`.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows = vec![vec![0; other.len() + 1]; one.len() + 1];
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            rows[i][j] = match (i, j) {
                (0, n) | (n, 0) => n,
                _ => {
                    let changed = usize::from(one[i - 1] != other[j - 1]);
                    let plain =
                        (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + changed);
                    let swapped = i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
                    if swapped { plain.min(rows[i - 2][j - 2] + 1) } else { plain }
                }
            };
        }
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_typo_finds_its_word_and_nonsense_finds_none() {
        let words = ["start_command", "stop_command", "dependencies", "web"];
        assert_eq!(nearest("start_comand", words), Some("start_command"));
        assert_eq!(nearest("depend", words), Some("dependencies"));
        assert_eq!(nearest("wbe", words), Some("web"));
        assert_eq!(nearest("webb", words), Some("web"));
        assert_eq!(nearest("qqq", words), None);
        assert_eq!(nearest("db", words), None);
    }
}
