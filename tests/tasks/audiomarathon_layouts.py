"""Small data of exactly the layouts that AudioMarathon's loaders read."""

import json

import numpy as np
import soundfile

LETTERS = "ABCDE"
SCENES = ("Airport - airport", "Metro - metro", "Metro station - metro_station", "Tram - tram")
AGES = (
    "Young Adult (18-30)",
    "Early Career (31-40)",
    "Mid Career (41-50)",
    "Senior (51-70)",
    "Elderly (71+)",
)


def clip(path, seconds=1.0, rate=1000, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))
    soundfile.write(path, wave, rate, subtype="PCM_16")
    return path


def table(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _choices(texts):
    return {f"choice_{LETTERS[i].lower()}": text for i, text in enumerate(texts)}


def race(root, n=6):
    rows = []
    for i in range(n):
        file = f"race_audio/{('high', 'middle')[i % 2]}/article_{i // 2}.wav"
        clip(root / file, 95 + i, seed=i // 2)
        rows.append(
            {
                "audio_path": file,
                "question": f"What happened on day {i}?",
                "options": [f"event {i}{k}" for k in "wxyz"],
                "answer": LETTERS[i % 4],
                "article_id": f"art{i // 2}",
                "question_idx": i % 2,
                "id": i,
            }
        )
    table(root / "race_benchmark.json", rows)


def slue(root, n=4):
    rows = []
    for i in range(n):
        clip(root / f"audio/{i}.wav", 130, seed=i)
        rows.append(
            {
                "path": f"audio/{i}.wav",
                "question": "How many named entities are mentioned?",
                **_choices([f"{50 + i + k} entities" for k in range(4)]),
                "answer_gt": LETTERS[i % 4],
                "task_name": "ner_count",
                "dataset_name": "slue",
                "entity_count": 50 + i + i % 4,
                "source_file": f"dev_{i // 2}",
                "uniq_id": i,
            }
        )
    table(root / "slue_task.json", rows)


def tau(root, n=4):
    rows = []
    for i in range(n):
        label = SCENES[i % 4].split(" - ")[1]
        clip(root / f"{label}/{label}_{i}.wav", 200, seed=i)
        rows.append(
            {
                "path": f"{label}/{label}_{i}.wav",
                "scene_label": label,
                "question": "What is the acoustic scene of this segment?",
                **_choices(SCENES),
                "answer_gt": LETTERS[i % 4],
                "task_name": "Acoustic_Scene",
                "dataset_name": "TAU",
                "uniq_id": f"tau_{i}",
            }
        )
    table(root / "acoustic_scene_task_meta.json", rows)


def gtzan(root, n=4):
    genres = ("blues", "jazz", "metal", "pop")
    rows = []
    for i in range(n):
        clip(root / f"{genres[i % 4]}/{i}.wav", 240, seed=i)
        rows.append(
            {
                "path": f"{genres[i % 4]}/{i}.wav",
                "genre_label": genres[i % 4],
                "question": "What is the music genre of this segment?",
                **_choices(genres),
                "answer_gt": LETTERS[i % 4],
                "uniq_id": f"gtzan_{i}",
            }
        )
    table(root / "music_genre_classification_meta.json", rows)


def desed(root, n=4):
    events = ("Dog", "Speech", "Blender", "Dishes")
    rows = []
    for i in range(n):
        clip(root / f"extracted/{i}.wav", 100, seed=i)
        rows.append(
            {
                "path": f"extracted/{i}.wav",
                "task_type": "detection",
                "question": "Which sound event occurs?",
                "choices": dict(zip("ABCD", events, strict=True)),
                "answer_gt": LETTERS[i % 4],
                "all_events": [events[i % 4]],
                "primary_event": events[i % 4],
                "correct_event": events[i % 4],
                "path_extracted_event": "",
                "uniq_id": f"desed_{i}",
            }
        )
    table(root / "desed_sound_event_tasks.json", {"tasks": rows})


def vesus(root, n=6):
    emotions = ("angry", "happy", "sad", "fearful")
    rows = []
    for i in range(n):
        clip(root / f"{i}.wav", 91, seed=i)
        rows.append(
            {
                "path": f"{i}.wav",
                "question": "What emotion does the speaker express?",
                **_choices(emotions),
                "answer_gt": LETTERS[i % 4],
                "emotion_label": emotions[i % 4],
                "person_id": 2 if i == 5 else i,
            }
        )
    table(root / "audio_emotion_dataset.json", rows)


def had(root, n=6):
    for i in range(n):
        clip(root / "real" / f"r{i}.wav", 185, seed=i)
        if i < n - 2:
            clip(root / "fake" / f"f{i}.wav", 190, seed=100 + i)


def vox_gender(root, n=6):
    rows = []
    for i in range(n):
        clip(root / f"wav/id{i // 2}/{i}.wav", 100, seed=i)
        rows.append(
            {
                "path": f"id{i // 2}/{i}.wav",
                "speaker_id_original": f"id{i // 2}",
                "question": "What is the gender of the speaker?",
                **_choices(("Male", "Female")),
                "answer_gt": "Male" if i < 4 else "Female",
                "uniq_id": i,
            }
        )
    table(root / "gender_id_task_meta.json", rows)


def vox_age(root, n=5):
    rows = []
    for i in range(n):
        clip(root / f"wav/id{i}/{i}.wav", 100, seed=i)
        rows.append(
            {
                "path": f"id{i}/{i}.wav",
                "speaker_id_original": f"id{i}",
                "question": "Which age group does the speaker belong to?",
                **_choices(AGES),
                "answer_gt": AGES[i % 5],
                "speaker_age": 20 + 10 * i,
                "uniq_id": i,
            }
        )
    table(root / "age_classification_task_meta.json", rows)


TEXTS = (
    "THE QUICK BROWN FOX",
    "DON'T STOP NOW",
    "MISTER SMITH WENT HOME",
)


def librispeech_long(root):
    """Two recordings with a file of their own, one by the chapter's list, one without."""
    chapter = root / "test-clean" / "61" / "70968"
    clip(chapter / "61-70968-0000.flac", 95)
    (chapter / "61-70968-0000.txt").write_text(TEXTS[0] + "\n")
    clip(chapter / "61-70968-0001.flac", 250)
    (chapter / "61-70968.trans.txt").write_text(f"61-70968-0001 {TEXTS[1]}\n61-70968-0009 X\n")
    other = root / "test-clean" / "121" / "1"
    clip(other / "121-1-0000.flac", 125)
    (other / "121-1-0000.txt").write_text(TEXTS[2])
    clip(other / "121-1-0001.flac", 125)


CHOICE_TASKS = {
    "race": (race, 6),
    "slue": (slue, 4),
    "tau": (tau, 4),
    "gtzan": (gtzan, 4),
    "desed": (desed, 4),
    "vesus": (vesus, 5),
    "had": (had, 8),
    "vox_gender": (vox_gender, 4),
    "vox_age": (vox_age, 5),
}
