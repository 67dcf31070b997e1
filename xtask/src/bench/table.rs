//! Medians, and tables of them.
use std::fmt::Write;

/// The middle of the measured values; of an even number, the mean of the two in the middle.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The median of the ratios of pairs: each pair is of one round, so that slow rounds cancel out.
pub(super) fn median_ratio(values: &[f64], base: &[f64]) -> f64 {
    median(&ratios(values, base))
}

/// Where the median is, with 95 % confidence: between these two of the sorted values, whatever their
/// distribution (the sign test).
pub(super) fn interval(values: &[f64]) -> (f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let rank = (count / 2.0 - 1.96 * count.sqrt() / 2.0).floor().max(1.0);
    let beside = rank as usize - 1;
    let mirrored = sorted.len().saturating_sub(beside + 1);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    (at(beside), at(mirrored))
}

/// The lowest and the highest of these ratios: how far the median can be trusted.
pub(super) fn spread(values: &[f64], base: &[f64]) -> String {
    let mut sorted = ratios(values, base);
    sorted.sort_by(f64::total_cmp);
    match sorted.as_slice() {
        [] => String::new(),
        [only] => format!("{only:.3}"),
        [lowest, .., highest] => format!("{lowest:.3} to {highest:.3}"),
    }
}

fn ratios(values: &[f64], base: &[f64]) -> Vec<f64> {
    let pairs = values.iter().zip(base);
    pairs.map(|(value, base)| value / base).collect()
}

/// What a measurement has to reach, and whether it does: two cells, empty where nothing is asked.
pub(super) fn held(ratio: f64, at_least: Option<f64>) -> [String; 2] {
    at_least.map_or_else(Default::default, |bound| {
        let held = if ratio >= bound { "yes" } else { "no" };
        [format!("{bound:.2}"), held.to_owned()]
    })
}

/// Prints a table whose first column is text and whose others are numbers.
pub(super) fn print(title: &str, head: &[&str], rows: &[Vec<String>]) {
    println!("\n{}", render(title, head, rows));
}

fn render(title: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells
            .chain([head[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let mut text = format!("{title}\n");
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            let _ = match column {
                0 => write!(text, "  {cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
        // A machine that is ten times slower in one round does not change the ratio.
        assert!((median_ratio(&[9.0, 90.0, 8.0], &[10.0, 100.0, 8.0]) - 0.9).abs() < 1e-9);
        assert_eq!(
            spread(&[9.0, 80.0, 8.0], &[10.0, 100.0, 8.0]),
            "0.800 to 1.000"
        );
    }

    #[test]
    fn the_interval_of_31_is_from_the_10th_to_the_22nd() {
        let values: Vec<f64> = (1..=31).map(f64::from).collect();
        assert_eq!(interval(&values), (10.0, 22.0));
        assert_eq!(interval(&[2.0, 1.0]), (1.0, 2.0));
        assert!(interval(&[]).0.is_nan());
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [
            vec!["a".into(), "1".into()],
            vec!["longer".into(), "100".into()],
        ];
        let text = render("t", &["what", "rate"], &rows);
        assert_eq!(text, "t\n  what    rate\n  a          1\n  longer   100\n");
    }
}
