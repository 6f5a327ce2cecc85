"""Names of people who do not exist: a given name and a surname that is put together from two halves."""

from __future__ import annotations

from functools import cache

import numpy as np

from isometry.errors import InvalidInput

GIVEN = """
Ada Adele Agnes Aila Alba Alma Alva Amara Amos Anika Anton Aria Arlo Asta Astrid Aurel Avi Bela Benno Berta Bianca
Birk Bjarne Blanca Bodil Boris Bram Bruno Calla Carlo Cato Celia Cem Chiara Clara Clio Cora Cyril Dagny Dalia Damir
Dana Dario Delia Demir Dina Dora Edda Edgar Edith Edvin Eira Elba Eldar Elias Elif Elmo Elsa Emil Enid Enzo Erik Esra
Ester Eva Ezra Fadia Farid Fenja Fidel Fiona Flora Floyd Franka Freya Gaia Gerda Gino Gita Greta Gustav Hadar Hale
Hanna Hamid Harun Heidi Helga Henrik Hilma Hiro Hugo Ida Idris Ilka Ilse Imani Ines Ingrid Iona Ira Irma Isak Ivo Jada
Jakob Jana Janek Jari Jens Jin Joan Jonas Juna Kaja Kalle Kamal Karin Kasia Keanu Keita Kemal Kira Klaus Kofi Lani
Lars Lasse Leda Leif Lena Leon Levi Lida Lilja Linus Lior Livia Lola Lorna Lotta Luca Ludo Luna Mabel Madis Magda Maja
Malik Malte Mara Marek Marta Mateo Maud Maya Mehdi Mela Mika Mila Milan Mina Mira Moira Mona Nadia Naomi Nela Nestor
Nico Nils Nina Noa Nora Odin Olaf Oleg Olga Olin Oona Orla Oscar Otis Otto Pablo Paige Paula Pavel Pella Perla Petra
Pia Pilar Piet Quinn Rafa Ragna Ralf Rania Remy Rena Rhea Rika Rina Roald Rocco Roman Rosa Ruben Runa Sabin Sadie
Salma Samir Sanna Sara Saul Selma Senta Sigrid Silas Silja Simon Sofia Sonja Stella Sven Svea Taito Talia Tamar Tara
Tavi Tessa Thea Theo Thora Tilda Timur Tobias Tora Tove Udo Ulla Ulrik Uma Ursa Valda Vera Vico Vida Viggo Vilma Viola
Wanda Wendel Wilma Xenia Yael Yara Yasin Ylva Yuna Yusuf Zara Zelda Zeno Zita Zora
"""
FRONTS = """
Abber Alder Amber Apple Arden Ash Bar Beck Bell Birk Black Bram Brent Broad Brook Bur Cald Carl Cedar Chad Clay Cold
Cran Dal Deer Dell Drey East Eber Eider Elm Fair Fal Fen Fern Flint Glen Gold Grim Hal Hart Hazel Heath Hol Hor Kel
Kirk Lang Lin Lock Lund Mar Mel Mill Mor Nor Oak Ol Pem Quar Raven Red Rook Ros Sand Sel Sher Silver Stan Stern Sum
Swan Tal Thorn Tor Und Val Ver Wal War Wen West Whit Wil Win Wolf Wood Wyn Yar Yel
"""
BACKS = """
acre bank beck bourne bridge brook burn bury by castle cliff combe cote croft dale den down fell field ford gard gate
grave grove ham hurst ing kirk land ley low man mark mere mond more mount pool quist ridge rock scar shaw side sen
stead stead stone strand stream strom thorpe ton tree vale vik ward water well wick wood worth
"""


@cache
def _parts() -> tuple[tuple[str, ...], tuple[str, ...]]:
    surnames = {front + back for front in FRONTS.split() for back in BACKS.split()}
    return tuple(sorted(set(GIVEN.split()))), tuple(sorted(surnames))


def n_people() -> int:
    """Return how many different names there are."""
    given, surnames = _parts()
    return len(given) * len(surnames)


def people(n: int, random: np.random.Generator, taken: frozenset[str] = frozenset()) -> list[str]:
    """Draw names, all different.

    Parameters
    ----------
    n : int
    random : Generator
    taken : frozenset of str
        Names that must not be drawn.

    Raises
    ------
    InvalidInput
        There are not that many.
    """
    given, surnames = _parts()
    total = len(given) * len(surnames)
    if n > total - len(taken):
        raise InvalidInput(f"{n:,} names were asked for; there are {total - len(taken):,} different ones")
    drawn = random.choice(total, size=min(total, n + len(taken)), replace=False)
    names = (f"{given[i // len(surnames)]} {surnames[i % len(surnames)]}" for i in drawn.tolist())
    return [name for name in names if name not in taken][:n]
