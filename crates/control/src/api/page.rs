//! Pages of lists whose token says how many items came before. Lists with a key of their own go on behind it instead
//! (`ecs`, `ecr`), and stand a change between two pages better.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What a token of ours says: how many items came before; without one, none. `None`: it is not ours.
pub fn offset(token: Option<&str>) -> Option<usize> {
    let Some(token) = token else {
        return Some(0);
    };
    let bytes = STANDARD.decode(token).ok()?;
    std::str::from_utf8(&bytes)
        .ok()?
        .strip_prefix("after ")?
        .parse()
        .ok()
}

pub fn token(offset: usize) -> String {
    STANDARD.encode(format!("after {offset}"))
}

/// At most `size` items from there on, and the token of the next page if there is one.
pub fn cut<T>(items: Vec<T>, start: usize, size: usize) -> (Vec<T>, Option<String>) {
    let end = start.saturating_add(size);
    let next = (end < items.len()).then(|| token(end));
    (items.into_iter().skip(start).take(size).collect(), next)
}

/// The page of a request: at most as many items as it says, or else `size_unless_said`. `None`: the token is not ours, or
/// leads behind the list.
pub fn requested<T>(
    items: Vec<T>,
    token: Option<&str>,
    size: Option<i32>,
    size_unless_said: usize,
) -> Option<(Vec<T>, Option<String>)> {
    let start = offset(token).filter(|start| *start <= items.len())?;
    let size = size.map_or(size_unless_said, |size| usize::try_from(size).unwrap_or(1));
    Some(cut(items, start, size.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tokens_that_are_not_ours_are_told() {
        for token in [
            "",
            "after 1",
            "!",
            &STANDARD.encode("1"),
            &STANDARD.encode("after -1"),
        ] {
            assert_eq!(offset(Some(token)), None, "{token}");
        }
        assert_eq!(requested(vec![1], Some(&token(2)), None, 10), None);
    }

    proptest! {
        #[test]
        fn pages_of_any_size_give_every_item_once(count in 0usize..40, size in 1i32..50) {
            let items: Vec<usize> = (0..count).collect();
            let (mut seen, mut next) = (Vec::new(), None);
            loop {
                let (page, more) = requested(items.clone(), next.as_deref(), Some(size), 10).unwrap();
                seen.extend(page);
                next = more;
                if next.is_none() {
                    break;
                }
            }
            prop_assert_eq!(seen, items);
        }
    }
}
