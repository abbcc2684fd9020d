# The demo's picture: requests answered by the service, a panel for each case. Run by
# scripts/demo, which defines: out, title, seconds, top, panels and, for panel N, title_N,
# data_N, and marks_N: a file that gnuplot loads.
set terminal pngcairo size 1500,560 font 'DejaVu Sans,12' background '#ffffff'
set output out
blue = '#3b6ea5'
red = '#c0392b'

set multiplot layout 1,panels title title font 'DejaVu Sans Bold,15' offset 0,-0.3 \
	margins 0.055,0.99,0.19,0.83 spacing 0.03
set xrange [0:seconds]
set yrange [0:top]
set xtics 1 nomirror out
set ytics nomirror out
set grid ytics lt 1 lc '#e4e4e4'
set border 3 lc '#555555'
set style fill solid 0.55 noborder
set key at graph 0.5,-0.16 center top horizontal maxrows 1 samplen 1 width -4 font ',10'
set xlabel 'seconds' offset 0,0.5
set ylabel 'requests answered per second' offset 0.5,0

do for [i=1:panels] {
	eval sprintf("panel_title = title_%d; panel_data = data_%d; panel_marks = marks_%d", i, i, i)
	set title panel_title font 'DejaVu Sans Bold,13' offset 0,0
	load panel_marks
	plot panel_data using 1:2 with fillsteps lc rgb blue title 'requests answered', \
	     NaN with lines lc rgb red lw 2 dt 2 title 'memory error', \
	     NaN with boxes fill solid 0.25 noborder lc rgb red title 'service down'
	unset label
	unset arrow
	unset object
	unset ylabel
	set format y ''
}
unset multiplot
