from __future__ import annotations

import pytest

from lalm_bench.parsing import Parsed
from lalm_bench.parsing.strict import extract
from lalm_bench.types import Choice


def options(labels, *texts):
    return tuple(Choice(label, text) for label, text in zip(labels, texts, strict=True))


SOUNDS = options("ABCD", "a dog barks", "two beeps", "The audience cheers wildly.", "vitamin A")
GAPS = options("ACD", "a bird", "a bird sings", "This is the last event, no event after.")
LONG = options(["A", "I", "AA", "AF"], "rain", "wind", "thunder", "hail")
SAKURA = options("abcd", "dog", "cat", "cow", "frog")
TRUTH = options("AB", "True", "False")
YESNO = options("AB", "Yes", "No")
RELATION = options(
    "ABCDE",
    "A starts before B",
    "A starts after B",
    "A overlaps B",
    "A and B start at the same time",
    "cannot be determined",
)
CHORDS = options("ABCD", "G", "Bbm", "D", "Bbm(add9)")
DIGITS = options("1234", "one dog", "two dogs", "a cat", "a cow")

# (text, options, label, stage)
FORMS = [
    # bare, in any wrapping
    ("A", SOUNDS, "A", "exact"),
    ("b", SOUNDS, "B", "exact"),
    ("E.", RELATION, "E", "exact"),
    ("(b)", SOUNDS, "B", "exact"),
    ("[D]", SOUNDS, "D", "exact"),
    ("**C**", SOUNDS, "C", "exact"),
    ("C:", SOUNDS, "C", "exact"),
    ("“B”", SOUNDS, "B", "exact"),
    ("$B$", SOUNDS, "B", "exact"),
    ("I", LONG, "I", "exact"),
    ("af", LONG, "AF", "exact"),
    ("B)", SAKURA, "b", "exact"),
    ("3.", DIGITS, "3", "exact"),
    # label and text
    ("B. two beeps", SOUNDS, "B", "leading"),
    ("B.two beeps", SOUNDS, "B", "leading"),
    ("C. The audience che", SOUNDS, "C", "leading"),
    ("C. The audience cheered.  The next", SOUNDS, "C", "leading"),
    ("B two beeps", SOUNDS, "B", "leading"),
    ("(b) cat", SAKURA, "b", "leading"),
    ("**B**: two beeps", SOUNDS, "B", "leading"),
    ("**B. two beeps**", SOUNDS, "B", "leading"),
    ("B - two beeps", SOUNDS, "B", "leading"),
    ("B (two beeps)", SOUNDS, "B", "leading"),
    ("B\nIt is heard twice.", SOUNDS, "B", "leading"),
    ("A, because it barks", SOUNDS, "A", "leading"),
    ("A because it barks", SOUNDS, "A", "leading"),
    ("C is what I hear", SOUNDS, "C", "leading"),
    ("A Yes", YESNO, "A", "leading"),
    ("AF. hail", LONG, "AF", "leading"),
    ("C. A overlaps B", RELATION, "C", "leading"),
    ("2. two dogs", DIGITS, "2", "leading"),
    ("2. 3 dogs", DIGITS, "2", "leading"),
    # the text of one option
    ("False", TRUTH, "B", "text"),
    ("true.", TRUTH, "A", "text"),
    ("No, it is not in the audio.", YESNO, "B", "text"),
    ("Yes, there is no dog", YESNO, "A", "text"),
    ("Two Beeps.", SOUNDS, "B", "text"),
    ("a bird", GAPS, "A", "text"),
    ("A bird sings.", GAPS, "C", "text"),
    ("vitamin A", SOUNDS, "D", "text"),
    ("A starts before B", RELATION, "A", "text"),
    ("A and B start at the same time.", RELATION, "D", "text"),
    ("cannot be determined", RELATION, "E", "text"),
    ("This is the last event, no event after", GAPS, "D", "text"),
    ("Metal", options("AB", "Metal", "metal"), "A", "text"),
    ("Two beeps. I heard them.", SOUNDS, "B", "text"),
    # syntax
    ('{"label": "B"}', SOUNDS, "B", "json"),
    ("{'answer': 'b'}", SOUNDS, "B", "json"),
    ('```json\n{"choice": "(C)", "why": "A or B fail"}\n```', SOUNDS, "C", "json"),
    ('{"option": "two beeps"}', SOUNDS, "B", "json"),
    ('{"reasoning": "A? no", "answer": "D. vitamin A"', SOUNDS, "D", "json"),
    ('{"result": {"answer": "B"}, "label": "B"}', SOUNDS, "B", "json"),
    (r"So \boxed{B}.", SOUNDS, "B", "tag"),
    (r"$\boxed{\text{D}}$", SOUNDS, "D", "tag"),
    ("A dog? A.\n<answer>B</answer>", SOUNDS, "B", "tag"),
    ("<Reasoning>A or C.</Reasoning>\n<Conclusion> C </Conclusion>", SOUNDS, "C", "tag"),
    ("<Conclusion>B", SOUNDS, "B", "tag"),
    ("<answer>two beeps</answer>", SOUNDS, "B", "tag"),
    ("<think>The answer is A.</think>\nB", SOUNDS, "B", "exact"),
    # statements
    ("The answer is (b)", SOUNDS, "B", "statement"),
    ("Answer: C", SOUNDS, "C", "statement"),
    ("**Answer:** B", SOUNDS, "B", "statement"),
    ("Final answer: **B**", SOUNDS, "B", "statement"),
    ("option D", SOUNDS, "D", "statement"),
    ('the sound matches option D: "', SOUNDS, "D", "statement"),
    ("I choose B", SOUNDS, "B", "statement"),
    ("I would go with option (c) here", SOUNDS, "C", "statement"),
    ("The correct answer is B. because it is", SOUNDS, "B", "statement"),
    ("The most likely option would be:\n\nC. A", SOUNDS, "C", "statement"),
    ("I hear no dog, and C is the correct answer", SOUNDS, "C", "statement"),
    ("The answer is A as it barks", SOUNDS, "A", "statement"),
    ("the answer is a", SOUNDS, "A", "statement"),
    ("The answer is I.", LONG, "I", "statement"),
    ("The answer is AA", LONG, "AA", "statement"),
    ("The correct option is B, not A.", SOUNDS, "B", "statement"),
    ("The answer is two beeps.", SOUNDS, "B", "statement"),
    ("The answer is A starts after B.", RELATION, "B", "statement"),
    ("the answer is a cow", SAKURA, "c", "statement"),
    ("The answer is No.", YESNO, "B", "statement"),
    ('The best answer is "Yes" because it barks', YESNO, "A", "statement"),
    ("The answer is both.", options("AB", "Neither", "Both"), "B", "statement"),
    ("The answer is G.", CHORDS, "A", "statement"),
    ("The answer is D.", CHORDS, "D", "statement"),
    ("The answer is of,a.", options("AB", "was", "of,a"), "B", "statement"),
    ("I cannot hear the audio, so I choose B.", SOUNDS, "B", "statement"),
    ("A dog is barking, so C", SOUNDS, "C", "statement"),
    ("The answer is A. Wait, the beeps come first. The answer is B.", SOUNDS, "B", "statement"),
    ("Option A is wrong because no dog is heard. Option B fits.", SOUNDS, "B", "statement"),
    ("A. a dog barks\nB. two beeps\nAnswer: B", SOUNDS, "B", "statement"),
    ("A dog barks. Then two beeps. The answer is B.", SOUNDS, "B", "statement"),
    # the text of one option inside a sentence
    ("The sound is a cat, not a dog", SAKURA, "b", "mention"),
    ("I hear that a bird sings", GAPS, "C", "mention"),
    ("The speaker mentions vitamin A", SOUNDS, "D", "mention"),
    ("It cannot be determined from the audio", RELATION, "E", "mention"),
    ('a dog barks after "two beeps," I think', SOUNDS, "B", "mention"),
    ("The statement is false", TRUTH, "B", "mention"),
    # one letter
    ("Based on the audio, C", SOUNDS, "C", "letter"),
    ("It is not A but B", SOUNDS, "B", "letter"),
    ("答案是B。", SOUNDS, "B", "letter"),
    # no label
    ("", SOUNDS, None, "empty"),
    (" \n\t", SOUNDS, None, "empty"),
    ("None of the options provided (A, B, or C) accurately describe what", SOUNDS, None, "refusal"),
    ("I'm sorry, I cannot answer.", LONG, None, "refusal"),
    ("Based on the given information, it is not possible to determine", SOUNDS, None, "refusal"),
    ("The audio is not provided, so B cannot be confirmed", SOUNDS, None, "refusal"),
    ("I cannot tell", SOUNDS, None, "refusal"),
    ("I can't determine whether the answer is A or B", SOUNDS, None, "refusal"),
    ("<answer>None of the options</answer>", SOUNDS, None, "refusal"),
    ("A or B", SOUNDS, None, "several"),
    ("both A and C", SOUNDS, None, "several"),
    ("A, B, C", SOUNDS, None, "several"),
    ("The answer is A or B.", SOUNDS, None, "several"),
    ("The answer is A, no, the answer is B.", SOUNDS, None, "several"),
    ("The answer could be two beeps or vitamin A", SOUNDS, None, "several"),
    ('{"answer": ["A", "B"]}', SOUNDS, None, "several"),
    ("A. a dog barks\nB. two beeps", SOUNDS, None, "several"),
    ("Option A is a dog. Option B is a beep.", SOUNDS, None, "several"),
    ("a dog barks and two beeps", SOUNDS, None, "several"),
    ("METAL", options("AB", "Metal", "metal"), None, "several"),
    ("same", options("AB", "same", "same"), None, "several"),
    ("B", GAPS, None, "none"),
    ("...", SOUNDS, None, "none"),
    ("A car passes by", SOUNDS, None, "none"),
    ("The answer is A dog", SOUNDS, None, "none"),
    ("I think it's a plane", LONG, None, "none"),
    ("I, as a listener, hear it", LONG, None, "none"),
    ("not B", SOUNDS, None, "none"),
    ("it isn't the dog", SAKURA, None, "none"),
    ("The answer is not B", SOUNDS, None, "none"),
    ("C is not correct", SOUNDS, None, "none"),
    ("I would not choose B", SOUNDS, None, "none"),
    ("If the answer is B, then the dog", SOUNDS, None, "none"),
    ("Ah, the sound", options(["A", "AH"], "x", "y"), None, "none"),
    ("It is in the key of D", SOUNDS, None, "none"),
    ("a B-flat and B's vibrato at 6 A.M. today", SOUNDS, None, "none"),
    ("vitamin C, group B", SOUNDS, None, "none"),
    ("Event A starts before Event B", RELATION, None, "none"),
    ("There are 2 dogs at 3.5 s", DIGITS, None, "none"),
    ("No dog is heard", YESNO, None, "none"),
    (
        'There is no immediate event that appears after the statement "A car is driving steadily',
        SOUNDS,
        None,
        "none",
    ),
    (
        'Based on the given event "A car passes by," the immediate event that can',
        SOUNDS,
        None,
        "none",
    ),
]


@pytest.mark.parametrize(("text", "choices", "label", "stage"), FORMS)
def test_form(text, choices, label, stage):
    found = extract(text, choices)
    assert (found.label, found.stage) == (label, stage)


@pytest.mark.parametrize(
    ("text", "label", "conflict"),
    [
        ("C. two beeps", "C", True),
        ("(C) - two beeps", "C", True),
        ("C. two beeps, then silence", "C", True),
        ("C. vitamin", "C", False),
        ("C (two beeps)", "C", True),
        ("The answer is C: two beeps", "C", True),
        ('{"label": "C", "answer": "two beeps"}', "C", True),
        ("<answer>C. two beeps</answer>", "C", True),
        ("C", "C", False),
        ("C. The audience cheers wildly.", "C", False),
        ("C. The audience laughs.", "C", False),
        ("C. something that is no option", "C", False),
        ("The answer is C because two beeps are missing", "C", False),
        ("two beeps", "B", False),
    ],
)
def test_conflict(text, label, conflict):
    found = extract(text, SOUNDS)
    assert (found.label, found.conflict) == (label, conflict)


def test_text_contained_in_another_is_no_conflict():
    choices = options("AB", "a bird sings", "a bird")
    assert extract("A. a bird sings loudly", choices) == Parsed("A", "leading", False)
    assert extract("B. a bird sings", choices).conflict
    assert not extract("B. a bird", choices).conflict
    assert not extract("D. Bbm(add9)", CHORDS).conflict


@pytest.mark.parametrize(
    ("text", "choices", "label"),
    [
        ("The answer is B", options("ABCD", "w", "x", "y", "z"), "B"),
        ("Based on the audio, C", options("ABCD", "w", "x", "y", "z"), "C"),
        ("I cannot tell", options("ABCD", "w", "x", "y", "z"), None),
        ("It is a fake clip.", options("ab", "real", "fake"), "b"),
        ("contains a fake segment", options("ab", "real", "fake"), "b"),
        ("A dog is barking, so C", options("ABCD", "w", "x", "y", "z"), "C"),
        ("Blender", options("ABCD", "Dog", "Speech", "Blender", "Cat"), "C"),
        ("Metal", options("ABCD", "blues", "rock", "jazz", "metal"), "D"),
        ("Blues - blues", options("ABCD", "rock", "jazz", "blues", "pop"), "C"),
        ("There are 46 entities", options("ABCD", "44", "45", "46", "47"), "C"),
        ("happy", options("ABCD", "angry", "sad", "happy", "fear"), "C"),
    ],
)
def test_known_misreadings_of_audiomarathon_are_right(text, choices, label):
    assert extract(text, choices).label == label


COT = (
    "The recording starts with silence, after which a dog barks twice in the distance. Option A "
    "describes a dog, which is heard early on, while option C talks about an audience, for which "
    "there is no evidence. The beeps follow right after the steps and are clearly separated. Since "
    "the question asks for what happens next, the correct answer is B. two beeps"
)


def test_long_reasoning_counts_by_its_last_statement():
    assert extract(COT, SOUNDS) == Parsed("B", "statement", False)
    assert extract("I first thought the answer is A. " + COT, SOUNDS).label == "B"
    assert extract("The answer is not A. " * 3000 + COT, SOUNDS).label == "B"
