//! What is kept of answers of any size.
use super::*;

fn row(values: &[Option<&str>]) -> Row {
    let values = values.iter();
    values.map(|value| value.map(str::to_owned)).collect()
}

fn ready(excerpt: &mut Excerpt) -> Vec<AnswerPart> {
    let parts: Vec<_> = std::iter::from_fn(|| excerpt.next()).collect();
    for part in &parts {
        assert!(part.size() <= ANSWER_PART_BYTES_MAX, "{}", part.size());
    }
    parts
}

#[test]
fn a_small_answer_is_kept_whole() {
    let mut excerpt = Excerpt::new(1000);
    excerpt.columns(["id".into(), "name".into()]);
    excerpt.row(row(&[Some("1"), None]));
    excerpt.row(row(&[Some("2"), Some("x")]));
    let columns = AnswerPart::Columns(vec!["id".into(), "name".into()]);
    assert_eq!(ready(&mut excerpt), [columns], "rows are gathered");
    excerpt.flush();
    let rows = vec![row(&[Some("1"), None]), row(&[Some("2"), Some("x")])];
    assert_eq!(ready(&mut excerpt), [AnswerPart::Rows(rows)]);
    excerpt.text("NOTICE");
    excerpt.end();
    assert_eq!(ready(&mut excerpt), [AnswerPart::Text("NOTICE".into())]);
    excerpt.end();
    assert_eq!(ready(&mut excerpt), [], "nothing was cut");
}

#[test]
fn a_large_one_comes_in_parts_and_ends_where_it_was_agreed() {
    let mut excerpt = Excerpt::new(3 * ANSWER_PART_BYTES_MAX);
    let mut parts = Vec::new();
    for number in 0..1000 {
        assert_eq!(excerpt.is_full(), number > 195, "{number}");
        excerpt.row(row(&[Some(&"x".repeat(988))]));
        parts.extend(ready(&mut excerpt));
    }
    excerpt.end();
    parts.extend(ready(&mut excerpt));
    let rows: Vec<_> = parts
        .iter()
        .map(|part| match part {
            AnswerPart::Rows(rows) => rows.len(),
            _ => 0,
        })
        .collect();
    assert_eq!(rows, [65, 65, 65, 0]);
    let cut = AnswerPart::Cut {
        rows: 805,
        bytes: 805 * 988,
    };
    assert_eq!(parts.last(), Some(&cut));
}

#[test]
fn a_row_larger_than_a_part_keeps_the_beginnings_of_its_values() {
    let mut excerpt = Excerpt::new(usize::MAX);
    let long = "\u{fc}".repeat(ANSWER_PART_BYTES_MAX);
    excerpt.row(row(&[Some("7"), Some(&long), None, Some(&long)]));
    excerpt.row(vec![None; 2 * ANSWER_PART_BYTES_MAX]);
    excerpt.end();
    let parts = ready(&mut excerpt);
    let [AnswerPart::Rows(first), AnswerPart::Rows(_), cut] = &parts[..] else {
        panic!("{parts:?}");
    };
    assert_eq!((&first[0][0], &first[0][2]), (&Some("7".into()), &None));
    let value = first[0][1].as_ref().unwrap();
    assert!(value.len() > 13_000 && value.ends_with("\u{fc}\u{2026}"));
    let bytes = 2 * (long.len() - (value.len() - CUT.len())) as u64;
    assert_eq!(*cut, AnswerPart::Cut { rows: 0, bytes });
}

#[test]
fn texts_and_names_are_bounded_too() {
    let text = "\u{20ac}".repeat(ANSWER_PART_BYTES_MAX);
    let mut excerpt = Excerpt::new(100_000);
    excerpt.text(&text);
    excerpt.text("more");
    excerpt.row(row(&[Some("1")]));
    excerpt.end();
    let parts = ready(&mut excerpt);
    let [AnswerPart::Text(first), AnswerPart::Text(second), cut] = &parts[..] else {
        panic!("{parts:?}");
    };
    let kept = first.len() + second.len();
    assert!(kept > 99_900, "{kept}");
    let bytes = (text.len() - kept + "more".len() + 1) as u64;
    assert_eq!(*cut, AnswerPart::Cut { rows: 1, bytes });

    let mut excerpt = Excerpt::new(usize::MAX);
    let name: Arc<str> = "c".repeat(63).into();
    excerpt.columns(std::iter::repeat_n(name, 1664));
    let parts = ready(&mut excerpt);
    assert!(
        matches!(&parts[..], [AnswerPart::Columns(names)] if names.len() == 923),
        "{parts:?}"
    );
    let mut excerpt = Excerpt::new(4);
    excerpt.text("\u{20ac}");
    excerpt.columns(["id".into()]);
    excerpt.end();
    assert_eq!(ready(&mut excerpt), [AnswerPart::Cut { rows: 0, bytes: 3 }]);
}

#[test]
fn texts_are_gathered_and_keep_their_place() {
    let mut excerpt = Excerpt::new(1000);
    excerpt.text("a");
    excerpt.text("b");
    excerpt.row(row(&[Some("1")]));
    excerpt.text("c");
    excerpt.skip_text(7);
    excerpt.end();
    let parts = ready(&mut excerpt);
    let expected = [
        AnswerPart::Text("ab".into()),
        AnswerPart::Rows(vec![row(&[Some("1")])]),
        AnswerPart::Text("c".into()),
        AnswerPart::Cut { rows: 0, bytes: 7 },
    ];
    assert_eq!(parts, expected);
    let mut excerpt = Excerpt::new(usize::MAX);
    for _ in 0..3 {
        excerpt.text(&"x".repeat(ANSWER_PART_BYTES_MAX / 2));
    }
    excerpt.end();
    assert_eq!(ready(&mut excerpt).len(), 3);
}

#[test]
fn what_nobody_reads_leaves_a_mark_where_it_was() {
    let mut excerpt = Excerpt::new(60);
    excerpt.row(row(&[Some("1")]));
    excerpt.unread_row(100_000);
    excerpt.row(row(&[Some("3")]));
    excerpt.unread_row(10);
    excerpt.unread_row(10);
    excerpt.end();
    let rows = [Some("1"), Some(CUT), Some("3")].map(|value| row(&[value]));
    let cut = AnswerPart::Cut {
        rows: 2,
        bytes: 100_000 + 20 + CUT.len() as u64,
    };
    assert_eq!(ready(&mut excerpt), [AnswerPart::Rows(rows.into()), cut]);
}

#[test]
fn a_part_that_is_too_large_says_how_large_it_was() {
    let rows = vec![row(&[Some(&"x".repeat(40_000)), None]); 2];
    let bytes = 80_000;
    let cut = AnswerPart::Cut { rows: 2, bytes };
    assert_eq!(AnswerPart::Rows(rows).bounded(), cut);
    let text = AnswerPart::Text("x".repeat(ANSWER_PART_BYTES_MAX));
    let bytes = ANSWER_PART_BYTES_MAX as u64;
    assert_eq!(text.bounded(), AnswerPart::Cut { rows: 0, bytes });
    let small = AnswerPart::Rows(vec![row(&[None])]);
    assert_eq!(small.clone().bounded(), small);
}
