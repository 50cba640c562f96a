//! A bucket as bytes: count, sum, minimum, maximum, then the pairs of its distribution; all f64, little-endian.

use fogbank_types::metric::StatisticSet;

const WORD: usize = size_of::<f64>();
const FIXED_WORDS: usize = 4;

pub fn encode(values: &StatisticSet) -> Vec<u8> {
    let fixed = [values.count, values.sum, values.minimum, values.maximum];
    let pairs = values.distribution.iter().flat_map(|(v, n)| [*v, *n]);
    fixed
        .into_iter()
        .chain(pairs)
        .flat_map(f64::to_le_bytes)
        .collect()
}

pub fn decode(bytes: &[u8]) -> Option<StatisticSet> {
    let (chunks, rest) = bytes.as_chunks::<WORD>();
    let words: Vec<f64> = chunks
        .iter()
        .map(|chunk| f64::from_le_bytes(*chunk))
        .collect();
    let whole = rest.is_empty() && words.len() >= FIXED_WORDS && words.len().is_multiple_of(2);
    whole.then(|| StatisticSet {
        count: words[0],
        sum: words[1],
        minimum: words[2],
        maximum: words[3],
        distribution: words[FIXED_WORDS..]
            .chunks_exact(2)
            .map(|pair| (pair[0], pair[1]))
            .collect(),
    })
}
