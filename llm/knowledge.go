package llm

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
)

// Article is one page of the knowledge base: Markdown whose headings cut it into passages.
type Article struct {
	Slug, Title, URL string
	Body             string
}

// Passage is what the responder may quote, with how well it fits a question.
type Passage struct {
	ID      int64   `db:"id"`
	Title   string  `db:"title"`
	URL     string  `db:"url"`
	Heading string  `db:"heading"`
	Body    string  `db:"body"`
	Rank    float64 `db:"rank"`
	Covered float64 `db:"covered"` // share of the question's content words, rare ones counting more
	Words   int     `db:"words"`   // how many content words of the question stand in it
	Asked   int     `db:"asked"`   // how many the question has
}

// Strong says whether the passage may be quoted as the answer without a model's judgement.
func (p Passage) Strong() bool {
	return p.Covered >= 0.55 && (p.Words >= 2 || p.Asked == 1)
}

func (p Passage) source() channels.Source {
	return channels.Source{PassageID: p.ID, Title: p.Title, URL: p.URL}
}

// passageRunes is the size at which a section is cut in two, at a paragraph.
const passageRunes = 700

//go:embed demo/*.md
var demoFiles embed.FS

// DemoArticles is the knowledge base of the invented shop Nordlicht, served at /help/<name of the file>.
func DemoArticles() ([]Article, error) {
	demo, err := fs.Sub(demoFiles, "demo")
	if err != nil {
		return nil, fmt.Errorf("demo articles: %w", err)
	}
	return ReadArticles(demo, "/help/")
}

// ReadArticles reads a folder of Markdown files. A file begins with "# title"; its address is base and its name without
// .md. Every file that cannot be used is named, all of them at once.
func ReadArticles(dir fs.FS, base string) ([]Article, error) {
	names, err := fs.Glob(dir, "*.md")
	if err != nil {
		return nil, fmt.Errorf("read articles: %w", err)
	}
	var out []Article
	var bad []error
	for _, name := range names {
		data, err := fs.ReadFile(dir, name)
		if err != nil {
			bad = append(bad, fmt.Errorf("article %s: %w", name, err))
			continue
		}
		title, body, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
		title, marked := strings.CutPrefix(title, "# ")
		if !marked || !utf8.Valid(data) || strings.TrimSpace(body) == "" {
			bad = append(bad, fmt.Errorf("article %s: want UTF-8 text that begins with \"# title\" and goes on after it", name))
			continue
		}
		slug := strings.TrimSuffix(name, ".md")
		out = append(out, Article{Slug: slug, Title: strings.TrimSpace(title), URL: base + slug, Body: body})
	}
	if len(names) == 0 {
		bad = append(bad, errors.New("articles: no file *.md in the folder"))
	}
	return out, errors.Join(bad...)
}

// Load writes articles and their passages. Loading the same again changes nothing, not even the passages' ids, because
// answers that were given refer to them. Articles that are not named stay.
func Load(ctx context.Context, pool *pgxpool.Pool, articles []Article) error {
	articles = slices.Clone(articles)
	slices.SortFunc(articles, func(a, b Article) int { return strings.Compare(a.Slug, b.Slug) })
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtext('articles'))`); err != nil {
			return fmt.Errorf("lock articles: %w", err)
		}
		for _, a := range articles {
			if err := loadArticle(ctx, tx, a); err != nil {
				return fmt.Errorf("load article %s: %w", a.Slug, err)
			}
		}
		return nil
	})
}

func loadArticle(ctx context.Context, tx pgx.Tx, a Article) error {
	var id int64
	err := tx.QueryRow(ctx, `
		insert into articles (slug, title, url) values ($1, $2, $3)
		on conflict (slug) do update set title = excluded.title, url = excluded.url, updated_at = now()
		returning id`, a.Slug, a.Title, a.URL).Scan(&id)
	if err != nil {
		return err
	}
	passages := split(a)
	for i, p := range passages {
		_, err := tx.Exec(ctx, `
			insert into passages (article_id, position, heading, body) values ($1, $2, $3, $4)
			on conflict (article_id, position) do update set heading = excluded.heading, body = excluded.body
			where (passages.heading, passages.body) is distinct from (excluded.heading, excluded.body)`,
			id, i, p.Heading, p.Body)
		if err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, `delete from passages where article_id = $1 and position >= $2`, id, len(passages))
	return err
}

// split cuts an article at its headings, and a long section at its paragraphs. The heading carries the title, so that
// a passage is understood, and found, by itself.
func split(a Article) []Passage {
	var out []Passage
	heading := a.Title
	var paragraphs []string
	flush := func() {
		body := ""
		for _, p := range paragraphs {
			if body != "" && len(body)+len(p) > passageRunes {
				out = append(out, Passage{Heading: heading, Body: body})
				body = ""
			}
			if body != "" {
				body += "\n"
			}
			body += p
		}
		if body != "" {
			out = append(out, Passage{Heading: heading, Body: body})
		}
		paragraphs = nil
	}
	for para := range strings.SplitSeq(strings.ReplaceAll(a.Body, "\r\n", "\n"), "\n\n") {
		para = strings.TrimSpace(para)
		for strings.HasPrefix(para, "#") {
			flush()
			line, rest, _ := strings.Cut(para, "\n")
			heading = a.Title + ": " + strings.TrimSpace(strings.TrimLeft(line, "#"))
			para = strings.TrimSpace(rest)
		}
		if para != "" {
			paragraphs = append(paragraphs, plain(para))
		}
	}
	flush()
	return out
}

// Words that a question holds without asking for them; Postgres' own stop words go by themselves.
var askingWords = strings.Fields(`much mani like want need know tell pleas hello hi hey thank help would could get got
	may might also question ask wonder realli just long take use let us say said give show find look one someth anyth
	els possibl offer sell buy bought day new work old good best exact actual current alreadi still yet today tomorrow
	kind sort type mean happen anyon someon can't don't won't isn't nordlicht shop tri put go come see think sure
	make made way time allow`)

// Search finds the passages nearest to a question by Postgres' full-text search. The question's words are joined by
// "or"; how much of them a passage covers decides the order and whether it is strong.
func Search(ctx context.Context, pool *pgxpool.Pool, question string, n int) ([]Passage, error) {
	question = strings.Map(func(r rune) rune {
		if r == 0 || unicode.Is(unicode.Cc, r) && r != '\n' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(bounded(question, questionRunes), " "))
	rows, err := pool.Query(ctx, searchSQL, question, askingWords, n, figureAsked.MatchString(question))
	if err != nil {
		return nil, fmt.Errorf("search passages: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[Passage])
	if err != nil {
		return nil, fmt.Errorf("search passages: %w", err)
	}
	return found, nil
}

// figureAsked: a question that only a figure answers. Among passages that cover it equally, one with a figure is nearer
// ("how long can I send back" is not answered by how to pack the parcel).
var figureAsked = regexp.MustCompile(`(?i)\b(how (long|much|many|heavy|big|large|old|far|soon|fast|late|early|often|warm|cold|tall|wide|deep)|when|until|what (time|size|weight|price)|weighs?|costs?|prices?)\b`)

// $1 the question, $2 words that do not count, $3 how many, $4 whether it asks for a figure. A word that no passage holds weighs less than a rare one,
// because customers tell stories; it still keeps a passage from being strong. The words that do not count ("take", "new")
// break ties.
const searchSQL = `
with size as (select greatest(count(*), 1)::float8 as n from passages),
every as (
	select l, ('''' || replace(replace(l, '\', '\\'), '''', '''''') || '''')::tsquery as q
	from (select unnest(tsvector_to_array(to_tsvector('english', $1))) as l limit 40) s),
lex as (select * from every where l <> all ($2::text[])),
weighed as (
	select q, case when df = 0 then 0.7 * ln(1 + size.n) else ln(1 + size.n / df) end as weight
	from (select q, (select count(*) from passages p where p.words @@ lex.q) as df from lex) d, size),
whole as (
	select string_agg(q::text, ' | ')::tsquery as query, sum(weight) as weight, count(*)::int as asked,
		(select string_agg(q::text, ' | ')::tsquery from every) as broad
	from weighed)
select p.id, a.title, a.url, p.heading, p.body, ts_rank_cd(p.words, whole.broad, 1)::float8 as rank,
	(c.weight / whole.weight)::float8 as covered, c.words, whole.asked
from whole
join passages p on p.words @@ whole.query
join articles a on a.id = p.article_id
cross join lateral (select sum(weight) as weight, count(*)::int as words from weighed w where p.words @@ w.q) c
order by covered desc, ($4 and p.body ~ '[0-9]') desc, rank desc, p.id
limit $3`
