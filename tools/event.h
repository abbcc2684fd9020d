/* SPDX-License-Identifier: GPL-2.0 */
/* hugepoison-inject: bad pages and their owners, and events as they happen. */
#ifndef HUGEPOISON_EVENT_H
#define HUGEPOISON_EVENT_H

#include "options.h"

struct json_object;

/* list.c, owner.c */
struct bad {
	uint64_t pfn, kb;
	int node;
	char state[12];
	char owner[256];	/* as the kernel writes it */
};

int run_list(struct options *opt);
bool parse_bad(const char *line, struct bad *bad);
bool parse_own(const char *line, uint64_t *start, uint64_t *end, uint64_t *kb, char state[12]);
struct bad *read_bad_pages(size_t *count);
long owner_shmid(const struct bad *bad);
void owner_path(const struct bad *bad, char *buf, size_t len);
void owner_pids(const struct bad *bad, char *buf, size_t len);

/* json.c, list.c */
struct json_object *json_owner(const struct bad *bad, bool pids);

/* trace.c */
struct trace {
	int fd;
	bool ended;		/* of a file */
	bool clock_known;	/* its times are those of now() */
	char dir[320];		/* our instance, "" for a file */
	char text[8192];	/* read, and not handed out yet */
	size_t got;
};

int trace_check(char *tracefs, size_t len);
int trace_open(struct trace *trace, bool mappings);
int trace_open_file(struct trace *trace, const char *name);
void trace_close(struct trace *trace);
bool trace_line(struct trace *trace, char *line, size_t len);
double trace_when(const struct trace *trace, double seconds);

/* event.c */
enum event_kind {
	EVENT_CONTAIN, EVENT_NARROW, EVENT_PROMOTE, EVENT_RELEASE, EVENT_REPLACE, EVENT_HEAL,
	EVENT_REFILL,
	EVENT_PAGE,		/* the kernel's own: an error in any page */
	EVENT_LOST,		/* the buffer of the trace was too small */
};

/**
 * struct event - something that happened
 * @kind: what
 * @seconds: when, on the clock of the trace
 * @when: the same since 1970, 0 where that is not known
 * @pfn: the page frame, see include/trace/events/hugepoison.h
 * @kb: the size of the hugepage, 4 where it is none
 * @node: the NUMA node, ANY_NODE where that is not known
 * @outcome: in a word
 * @type: the kernel's type for the page, in its own events
 * @ns: how long it took
 * @lost: how many events, of EVENT_LOST
 * @repeated: how many more came of one that the monitor has reported; 0 for a first one
 * @injected: it was no real error
 * @bad: the kernel's record of it; without a state if it has none
 */
struct event {
	enum event_kind kind;
	double seconds, when;
	uint64_t pfn, kb;
	int node;
	char outcome[16], type[40];
	uint64_t ns, lost, repeated;
	bool injected;
	struct bad bad;
};

const char *event_name(enum event_kind kind);
bool event_parse(const char *line, struct event *event);
int event_severity(const struct event *event);
bool event_is_error(const struct event *event);
bool event_is_urgent(const struct event *event);
const char *event_words(const struct event *event);
bool event_look_up(struct event *event, const struct bad *list, size_t count);
void event_time(const struct event *event, char *buf, size_t len);
void event_owner(const struct event *event, char *buf, size_t len);
void event_header(FILE *f);
void event_print(const struct event *event, FILE *f);
void event_json(const struct event *event, FILE *f);

/* repeat.c */
#define MAX_REPEATS	4096

struct told {
	struct event event;
	uint64_t more;		/* equal ones since */
	double since, pause;
};

struct repeats {
	struct told told[MAX_REPEATS];
	size_t count;
};

bool repeats_first(struct repeats *r, struct event *event, double at);
bool repeats_due(struct repeats *r, double at, struct event *event);

/* notify.c */
#define MESSAGE_ID_ERROR		"7c2f5d1be38a4f6d9b0e64a1d75c3f28"
#define MESSAGE_ID_NOT_CONTAINED	"e41b90c6a7d2483f8f35c1907be62d4a"
#define MESSAGE_ID_AFTER		"1d86f3ab5c094e27a2f7d0385b9e4c61"
#define MESSAGE_ID_POOL_SHORT		"b93e07d45f6c4a189ce2816fa04d7b35"
#define MESSAGE_ID_LOST			"50a7c9e2d81b4637b46f3e95c20d8a1f"

void event_fields(const struct event *event, char *buf, size_t len);
int journal_event(const struct event *event);
void notify_ready(void);

/* trigger.c */
#define TRIGGER_SECONDS	10

struct triggers {
	bool active;
	int urgent, other;	/* sockets that events go through */
	int pid;
	uint64_t dropped;
};

int triggers_check(const char *dir);
int triggers_start(struct triggers *t, const char *dir);
void triggers_event(struct triggers *t, const struct event *event);
void triggers_stop(struct triggers *t);

/* monitor.c */
int run_monitor(struct options *opt);

/* injected.c */
bool injected_line(const char *text, uint64_t *pfn);
void injected_load(void);
bool was_injected(uint64_t pfn);
int injected_begin(void);
void injected_note(int fd, uint64_t pfn, bool back);
void injected_end(int fd);

#endif /* HUGEPOISON_EVENT_H */
