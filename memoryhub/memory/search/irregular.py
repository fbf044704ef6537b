"""English words whose forms no stemmer brings together: irregular verbs and plurals."""

from collections.abc import Iterable

# One group a line: the word, and the forms that count as it. Forms that are stop words (was, did, had) are not here.
_GROUPS = """
arise arose arisen
bear bore borne
beat beaten
become became
begin began begun
bend bent
bite bit bitten
bleed bled
blow blew blown
break broke broken
breed bred
bring brought
build built
burn burnt
buy bought
catch caught
child children
choose chose chosen
come came
creep crept
crisis crises
deal dealt
dig dug
draw drew drawn
dream dreamt
drink drank drunk
drive drove driven
eat ate eaten
fall fell fallen
feed fed
feel felt
fight fought
find found
fly flew flown
foot feet
forget forgot forgotten
forgive forgave forgiven
freeze froze frozen
get got gotten
give gave given
go went gone
good better best
goose geese
grow grew grown
hang hung
hear heard
hide hid hidden
hold held
keep kept
knife knives
know knew known
lead led
learn learnt
leave left
lend lent
life lives
lose lost
make made
man men
mean meant
meet met
mouse mice
pay paid
person people
ride rode ridden
ring rang rung
rise rose risen
run ran
say said
see saw seen
seek sought
sell sold
send sent
shake shook shaken
shine shone
shoot shot
shrink shrank shrunk
sing sang sung
sink sank sunk
sit sat
sleep slept
speak spoke spoken
spend spent
stand stood
steal stole stolen
stick stuck
strike struck
swear swore sworn
sweep swept
swim swam swum
take took taken
teach taught
tear tore torn
tell told
think thought
throw threw thrown
tooth teeth
understand understood
wake woke woken
wear wore worn
wife wives
win won
woman women
write wrote written
bad worse worst
"""
_FORMS = {base: forms for base, *forms in map(str.split, _GROUPS.strip().splitlines())}
BASE = {form: base for base, forms in _FORMS.items() for form in forms}
_OF_STEM = {stem: forms for base, forms in _FORMS.items() for stem in (base, base[:-1])}  # a stem may lack an e or s


def forms_of(stems: Iterable[str]) -> set[str]:
    """The irregular forms of words with these stems."""
    return {form for stem in stems for form in _OF_STEM.get(stem, ())}
