//! Finds the most similar existing word, for "did you mean".

use crate::name::MAX_NAME_BYTES;
use alloc::vec::Vec;
use core::mem::swap;

/// The maximum number of compared words. A larger project has names that differ by single characters.
const MAX_CANDIDATES: usize = 2_000;

/// The word most similar to `typo` among `words`, if it is similar enough: at most a third differs, or one is a prefix
/// of the other. The case of ASCII letters does not matter. `None` for a text that is longer than any name or key.
pub fn nearest<'a>(typo: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if typo.len() > MAX_NAME_BYTES {
        return None;
    }
    let letters = lowercase(typo);
    let mut found: Option<(usize, &str)> = None;
    for word in words.into_iter().take(MAX_CANDIDATES).filter(|word| word.len() <= MAX_NAME_BYTES) {
        let other = lowercase(word);
        let begins = typo.len() > 2 && word.len() > 2 && (word.starts_with(typo) || typo.starts_with(word));
        let most = match begins {
            true => MAX_NAME_BYTES,
            false => letters.len().max(other.len()) / 3,
        };
        // The distance of a word that is not nearer is not computed completely.
        let most = found.map_or(most, |(nearest, _)| most.min(nearest.saturating_sub(1)));
        if found.is_some_and(|(nearest, _)| nearest == 0) {
            break;
        }
        if let Some(distance) = distance(&letters, &other, most) {
            found = Some((distance, word));
        }
    }
    found.map(|(_, word)| word)
}

fn lowercase(word: &str) -> Vec<char> {
    word.chars().map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours; `None` for more than `most`.
/// Existing libraries need `std`.
fn distance(one: &[char], other: &[char], most: usize) -> Option<usize> {
    if one.len().abs_diff(other.len()) > most {
        return None;
    }
    let (mut earlier, mut last, mut row) =
        ([0; MAX_NAME_BYTES + 1], [0; MAX_NAME_BYTES + 1], [0; MAX_NAME_BYTES + 1]);
    for (j, distance) in row.iter_mut().enumerate() {
        *distance = j;
    }
    for i in 1..=one.len() {
        swap(&mut earlier, &mut last);
        swap(&mut last, &mut row);
        row[0] = i;
        for j in 1..=other.len() {
            let changed = usize::from(one[i - 1] != other[j - 1]);
            let plain = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + changed);
            let swapped = i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
            row[j] = if swapped { plain.min(earlier[j - 2] + 1) } else { plain };
        }
        // Distances in later rows are not smaller than the minimum of two successive rows.
        if row[..=other.len()].iter().chain(&last[..=other.len()]).all(|distance| *distance > most) {
            return None;
        }
    }
    Some(row[other.len()]).filter(|distance| *distance <= most)
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
        assert_eq!(nearest("CR", ["cr", "db"]), Some("cr"));
        assert_eq!(nearest("Web", words), Some("web"));
        assert_eq!(nearest("we", ["wb", "we", "ew"]), Some("we"));
    }

    #[test]
    fn what_is_longer_than_any_name_is_like_none() {
        let (long, longer) = ("a".repeat(64), "a".repeat(65));
        assert_eq!(nearest(&long, [long.as_str()]), Some(long.as_str()));
        assert_eq!(nearest(&longer, [longer.as_str(), long.as_str()]), None);
        assert_eq!(nearest(&long, [longer.as_str()]), None);
    }
}
