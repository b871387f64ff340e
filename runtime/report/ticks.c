#include "runtime/report/ticks.h"

#include "runtime/report/text.h"

#include <math.h>
#include <stdio.h>

/* The distance of round numbers, 1, 2 or 5 times a power of ten, of which about `want` lie in `span`. */
static double round_step(double span, int want)
{
    double rough = span / want, power = pow(10, floor(log10(rough))), times = rough / power;
    return power * (times < 1.5 ? 1 : times < 3.5 ? 2 : times < 7.5 ? 5 : 10);
}

/* `step`: what tells the number from its neighbours. */
static void write_tick(char text[24], double value, double step)
{
    double above = fabs(value), large = fmax(above, step);
    int decimals = step < 1 ? (int)ceil(-log10(step) - 1e-9) : 0;
    if (above < step * 1e-6)
        snprintf(text, 24, "0");
    else if (step < 1e-5 || large >= 1e10)
        snprintf(text, 24, "%.*e", above > step ? (int)round(floor(log10(above)) - floor(log10(step) + 1e-9)) : 0,
                 value);
    else if (step >= 1e6)
        snprintf(text, 24, "%.0fM", value / 1e6);
    else if (step >= 1e5 && above >= 1e6)
        snprintf(text, 24, "%.1fM", value / 1e6);
    else if (step >= 1e3 && above >= 1e4)
        snprintf(text, 24, "%.0fk", value / 1e3);
    else
        snprintf(text, 24, "%.*f", decimals < 9 ? decimals : 9, value);
    dg_shorten_exponent(text);
}

struct dg_ticks dg_ticks_linear(double low, double high, int want)
{
    struct dg_ticks ticks = {0};
    double step = round_step(high - low, want);
    if (!(step > 0) || !isfinite(step)) return ticks;
    double first = ceil(low / step - 1e-9);
    for (; ticks.count < DG_MAX_TICKS; ticks.count++) {
        double value = (first + ticks.count) * step;
        if (value > high + step * 1e-9) break;
        ticks.at[ticks.count] = value;
        write_tick(ticks.text[ticks.count], value, step);
    }
    return ticks;
}

struct dg_ticks dg_ticks_log(double low, double high, int want)
{
    static const double times[] = {1, 2, 5};
    struct dg_ticks ticks = {0};
    double decades = log10(high / low);
    int each = decades > want ? (int)ceil(decades / want) : 1, count = decades < want / 2.0 ? 3 : 1;
    if (decades < 0.7) return dg_ticks_linear(low, high, want);
    for (int power = (int)floor(log10(low)); power <= (int)ceil(log10(high)); power++) {
        if (power % each) continue;
        for (int t = 0; t < count && ticks.count < DG_MAX_TICKS; t++) {
            double value = times[t] * pow(10, power);
            if (value < low * (1 - 1e-9) || value > high * (1 + 1e-9)) continue;
            ticks.at[ticks.count] = value;
            write_tick(ticks.text[ticks.count++], value, value);
        }
    }
    return ticks;
}
