//! A curve in one line of text.

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last `width` values, oldest first, each as a column that is full at 100. Where there is no value there is
/// no column.
pub fn curve(percentages: &[Option<f64>], width: usize) -> String {
    let start = percentages.len().saturating_sub(width);
    let column = |value: &Option<f64>| match value {
        None => ' ',
        // Each level stands for an eighth: full is full, and nothing still a line.
        Some(value) => LEVELS[((value / 12.5).ceil() as usize).clamp(1, 8) - 1],
    };
    percentages[start..].iter().map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_as_high_as_its_value() {
        let values = [
            0.0,
            12.5,
            12.6,
            50.0,
            87.5,
            99.0,
            100.0,
            250.0,
            -1.0,
            f64::NAN,
        ];
        assert_eq!(curve(&values.map(Some), 80), "▁▁▂▄▇███▁▁");
        assert_eq!(curve(&[Some(1.0), None, Some(100.0)], 2), " █");
        assert_eq!(curve(&[], 10), "");
    }
}
