r"""
# Link

Pages that know each other: where names and addresses lead, and what stands beside what.

| module | in → out |
|---|---|
| [previews](previews.py) | documents → what is said of a place, and where it is used |
| [links](links.py) | names and addresses → where they lead |
| [cards](cards.py), [group](group.py) | documents and results → what an index says of them |
| [routes](routes.py) | settings → where a page stands on each way |
| [order](order.py) | documents → their order, and what stands around each |
| [relations](relations.py) | what a page needs, changes and leads to |
| [comparer](comparer.py), [comparison](comparison.py) | two drafts → a page of both |
| [changes](changes.py) | which files are compared, with what proof |
| [map](map.py) | what pages need → a drawing of all |
| [equality](equality.py) | front matter and tests → what a page is equal to |
| [mistakes](mistakes.py) | what people get wrong → how a page tells of it |
| [figure](figure.py) | the picture beside an abstract → a part of its page |
| [poster](poster.py), [painting](painting.py) | figures and a title → what others show of a page |
| [inks](inks.py), [lettering](lettering.py) | colours and accents → what a painter understands |
| [heights](heights.py) | prose → about how high it is |
| [body](body.py) | a draft's rows → rows whose links lead somewhere |
| [page](page.py) | a draft and its surroundings → a page |
| [forms](forms.py) | a page → where it is as a notebook and as a text |
| [tongues](tongues.py) | a page → where it is in other languages |
| [elsewhere](elsewhere.py) | cells → the same, to be read away from the site |
| [intro](intro.py) | settings → what a project says of itself |
| [front](front.py), [site](site.py) | all pages → the indexes |
"""
