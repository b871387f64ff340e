#include "runtime/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 9216 }; /* two paths and a sentence */

static const char *const topic_name[DG_LOG_TOPICS] = {
    [DG_LOG_OP] = "op", [DG_LOG_LOAD] = "load", [DG_LOG_MEM] = "mem", [DG_LOG_PLAN] = "plan", [DG_LOG_RUN] = "run"};

const char *dg_log_topic_name(enum dg_log_topic topic) { return topic_name[topic]; }

bool dg_log_traces(const struct dg_log *log, enum dg_log_topic topic)
{
    return log && log->write && (log->trace >> topic & 1);
}

void dg_log(const struct dg_log *log, enum dg_log_level level, enum dg_log_topic topic, const char *format, ...)
{
    if (!log || !log->write || (level == DG_LOG_TRACE && !dg_log_traces(log, topic))) return;
    char text[MAX_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log->write(log->context, level, topic, text);
}

static bool find_topic(const char *name, size_t length, uint32_t *trace)
{
    for (int t = 0; t < DG_LOG_TOPICS; t++) {
        if (strlen(topic_name[t]) != length || memcmp(topic_name[t], name, length)) continue;
        *trace |= UINT32_C(1) << t;
        return true;
    }
    return false;
}

enum dg_status dg_log_read_environment(uint32_t *trace, struct dg_error *err)
{
    const char *text = getenv("DINOGRAPH_TRACE");
    *trace = 0;
    while (text && *text) {
        size_t length = strcspn(text, ",");
        if (length && !find_topic(text, length, trace)) {
            char list[128] = "";
            for (int t = 0; t < DG_LOG_TOPICS; t++) {
                size_t used = strlen(list);
                snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", topic_name[t]);
            }
            return dg_fail(err, DG_ERR_USAGE, "DINOGRAPH_TRACE: there is no topic %.*s; there are %s",
                           (int)dg_min_i64((int64_t)length, 64), text, list);
        }
        text += length + (text[length] == ',');
    }
    return DG_OK;
}

void dg_log_trace_to_stderr(void *context, enum dg_log_level level, enum dg_log_topic topic, const char *text)
{
    (void)context;
    if (level == DG_LOG_TRACE) fprintf(stderr, "%s %s\n", topic_name[topic], text);
}
